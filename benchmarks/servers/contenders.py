"""The servers that are compared: how each is started, and how it is asked.

Each is written as its own documentation writes it (``programs``), told to use one worker and one thread, not to log
requests, and given uvloop and httptools, which uvicorn takes where it finds them.
"""

from __future__ import annotations

import importlib.metadata
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.servers.environments import environment, versions
from servefit.backends.types import Settings
from servefit.serving.config import ArtifactFacts, EndpointConfig

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.types import Artifact

Form = Literal["instances", "open inference"]
Serves = Literal["xgboost", "onnxruntime", "servefit"]

FORMS: tuple[Form, ...] = ("instances", "open inference")

_PROGRAMS = Path(__file__).with_name("programs")
_NAME = "fraud"
_INFER = f"/v2/models/{_NAME}/infer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A server. ``serves`` is what it competes as; "xgboost" is the model as xgboost loads it, whose predictions must
    then be exactly those. ``packages`` are those that matter here, with their versions."""

    name: str
    serves: Serves
    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    port: int
    path: str = "/predict"
    form: Form = "instances"
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


def body(form: Form, row: str) -> str:
    """Return a request for the prediction of ``row``, a line of CSV, as JSON on one line."""
    values = row.replace(",", ", ")
    if form == "instances":
        return f'{{"instances": [[{values}]]}}'
    shape = f"[1, {row.count(',') + 1}]"
    tensor = f'{{"name": "rows", "shape": {shape}, "datatype": "FP32", "data": [{values}]}}'
    return f'{{"inputs": [{tensor}]}}'


def prediction(answer: Any) -> float:
    """Return the one prediction in ``answer``, JSON in any of the forms that the servers give it: a list, "predictions"
    or the one of "outputs". Raises ValueError for another number of predictions."""
    if isinstance(answer, dict):
        answer = answer["outputs"][0]["data"] if "outputs" in answer else answer["predictions"]
    while isinstance(answer, list):
        (answer,) = answer
    return float(answer)


def free_ports(first: int = 18_000) -> Iterator[int]:
    """Yield ports that nobody listens on, below those that the system gives to clients."""
    for port in range(first, 32_000):
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        if not taken:
            yield port


def others(model: Path, onnx: Path, ports: Iterator[int]) -> tuple[Contender, ...]:
    """Return the servers other than servefit, after making their environments."""
    return (
        _mlserver("MLServer", model, ports, folder="mlserver"),
        _mlserver("MLServer, adaptive batching up to 16", model, ports, folder="mlserver_batching_16"),
        _mlserver("MLServer, adaptive batching up to 64", model, ports, folder="mlserver_batching_64"),
        _litserve("LitServe", model, ports, api="Fraud"),
        _litserve("LitServe, batching up to 16", model, ports, api="BatchedFraud"),
        _bentoml("BentoML", model, ports, service="Fraud"),
        _bentoml("BentoML, adaptive batching up to 64", model, ports, service="BatchedFraud"),
        _fastapi("xgboost", model, ports),
        _fastapi("onnxruntime", onnx, ports),
    )


def _mlserver(name: str, model: Path, ports: Iterator[int], *, folder: str) -> Contender:
    port = next(ports)
    return Contender(
        name=name,
        serves="xgboost",
        command=(str(environment("mlserver").with_name("mlserver")), "start", str(_PROGRAMS / folder)),
        variables={
            "MLSERVER_MODEL_URI": str(model),
            "MLSERVER_HTTP_PORT": str(port),
            "MLSERVER_GRPC_PORT": str(next(ports)),
            "MLSERVER_METRICS_PORT": str(next(ports)),
        },
        port=port,
        path=_INFER,
        form="open inference",
        packages=_packages("mlserver", "mlserver", "xgboost", "numpy", "uvicorn", "uvloop", "httptools"),
    )


def _litserve(name: str, model: Path, ports: Iterator[int], *, api: str) -> Contender:
    port = next(ports)
    return Contender(
        name=name,
        serves="xgboost",
        command=(str(environment("litserve")), str(_PROGRAMS / "litserve_xgboost.py"), str(model), str(port), api),
        port=port,
        packages=_packages("litserve", "litserve", "xgboost", "numpy", "uvicorn", "uvloop", "httptools"),
    )


def _bentoml(name: str, model: Path, ports: Iterator[int], *, service: str) -> Contender:
    port = next(ports)
    serve = ("serve", f"bentoml_xgboost:{service}", "--working-dir", str(_PROGRAMS))
    listen = ("--host", "127.0.0.1", "--port", str(port))
    return Contender(
        name=name,
        serves="xgboost",
        command=(str(environment("bentoml").with_name("bentoml")), *serve, *listen),
        variables={"MODEL": str(model), "BENTOML_DO_NOT_TRACK": "True"},
        port=port,
        packages=_packages("bentoml", "bentoml", "xgboost", "numpy", "uvicorn", "uvloop", "httptools"),
    )


def _fastapi(serves: Serves, model: Path, ports: Iterator[int]) -> Contender:
    port = next(ports)
    return Contender(
        name=f"FastAPI + {serves}",
        serves=serves,
        command=(str(environment("fastapi")), str(_PROGRAMS / f"fastapi_{serves}.py"), str(model), str(port)),
        port=port,
        packages=_packages("fastapi", "fastapi", serves, "numpy", "uvicorn", "uvloop", "httptools"),
    )


def _packages(name: str, *packages: str) -> Mapping[str, str]:
    installed = versions(name)
    return {package: installed[package] for package in packages}


def servefit(
    model: Model, artifacts: Mapping[str, Artifact], ports: Iterator[int], folder: Path, *, batches: Sequence[int]
) -> tuple[Contender, ...]:
    """Return servefit's endpoint with each of ``artifacts`` and ``batches``, as the recommender would choose them: one
    worker and one thread, and no request waits for others. One is also asked in MLServer's protocol. Their
    configurations are written into ``folder``."""
    invocations = [
        _servefit(model, artifact, next(ports), folder, max_batch)
        for artifact in artifacts.values()
        for max_batch in batches
    ]
    open_inference = _servefit(model, artifacts["onnxruntime"], next(ports), folder, max(batches))
    name = f"{open_inference.name}, Open Inference Protocol"
    return (*invocations, replace(open_inference, name=name, path=_INFER, form="open inference"))


def _servefit(model: Model, artifact: Artifact, port: int, folder: Path, max_batch: int) -> Contender:
    config = EndpointConfig(
        name=_NAME,
        artifact=ArtifactFacts(
            backend=artifact.backend,
            backend_version=artifact.backend_version,
            model_digest=artifact.model_digest,
            target=artifact.target,
            folder=str(artifact.folder),
            facts=dict(artifact.facts),
        ),
        settings=Settings(threads=1),
        signature=model.signature,
        max_batch=max_batch,
        port=port,
    )
    file = folder / f"{port}.json"
    file.write_bytes(config.document())
    return Contender(
        name=f"servefit, {artifact.backend}, max_batch {max_batch}",
        serves="servefit",
        command=(sys.executable, "-P", "-m", "servefit.serving", str(file)),
        port=port,
        path="/invocations",
        packages={artifact.backend: artifact.backend_version, **_installed("numpy", "uvloop", "httptools", "msgspec")},
    )


def _installed(*packages: str) -> Mapping[str, str]:
    return {package: importlib.metadata.version(package) for package in packages}
