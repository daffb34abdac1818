"""The bundle's README.md: the contents of the folder, and the ways to start it."""

from __future__ import annotations

import json
from math import prod
from textwrap import fill
from typing import TYPE_CHECKING, Any

from servefit.search.deployment.bundle.container import docker_run
from servefit.search.deployment.bundle.contents import PORT
from servefit.search.deployment.bundle.memory import own_cpus, why_requested
from servefit.search.deployment.bundle.requirements import platform_name, python_version
from servefit.search.deployment.deployable import configuration_text, cpu_ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.backends.model import Signature
    from servefit.search.deployment.bundle.contents import Contents

_README = """\
# {name}

{summary}

| here | what it is |
|---|---|
| `run` | starts the endpoint |
| `endpoint.json` | what is served, and how: workers, threads, batching, limits, environment |
| `artifact/` | {artifact} |
| `model/{model_file}` | the model, SHA-256 `{digest}` |
| `SHA256SUMS` | the digests of these, and of `lib/`, which `run` compares before it starts |
| `requirements.lock` | the Python packages, for Python {python} on {platform} |
| `lib/` | the part of servefit that serves |{wheels_row}{secrets_row}
| `{label}.service` | a unit for systemd |
| `Dockerfile` | an image, for SageMaker too |
| `kserve.yaml`, `kubernetes.yaml` | for Kubernetes with KServe, and without |

## By hand

    ./run
{own_variables}
It needs Python {python} and nothing else. The first start makes an environment in `.venv` {source};
`./run install` does only that. It listens on 127.0.0.1:{port}, unless `--host` and `--port` say otherwise. By itself it
keeps to no CPUs:

    taskset --cpu-list {cpus} ./run --port 9000

    curl http://127.0.0.1:{port}/v2/models/{name}
    curl -H 'Content-Type: {content_type}' --data '{body}' http://127.0.0.1:{port}/invocations

There is no authentication and no TLS: put something in front of it before it listens beyond its machine.

## systemd

    sudo mkdir -p {parent}
    sudo cp -r . {folder}
    sudo cp {label}.service /etc/systemd/system/
    sudo systemctl daemon-reload
    sudo systemctl enable --now {label}

The unit holds it to CPU {cpus} and to {memory_mib:,} MiB, without swap. Change the CPUs to those that this machine can
spare.

## Docker, and SageMaker

    docker build -t {image} .{docker_secrets}
    {docker_run}

The image listens on 8080, or where SAGEMAKER_BIND_TO_PORT says, answers `/ping` and `/invocations`, takes the argument
`serve`, and runs as nobody in particular.

## Kubernetes

Push the image, and name it in the manifest as your registry does.

{kubernetes_secrets}    kubectl apply -f kserve.yaml            with KServe
    kubectl apply -f kubernetes.yaml        without: a Deployment and a Service

{memory}
"""


def readme(contents: Contents, *, with_wheels: bool) -> str:
    """Return the text of README.md."""
    config = contents.config
    content_type, body = example_request(config.signature)
    return _README.format(
        name=config.name,
        label=contents.label,
        image=contents.image,
        summary=_summary(contents),
        docker_run=docker_run(contents),
        memory_mib=contents.memory_mib,
        artifact=_artifact(contents),
        model_file=contents.model_file,
        digest=config.artifact.model_digest,
        python=python_version(),
        platform=platform_name(),
        secrets_row=_SECRETS_ROW.format(names=", ".join(contents.secrets)) if contents.secrets else "",
        docker_secrets="\n    set -a; . ./secrets.env; set +a" if contents.secrets else "",
        kubernetes_secrets="    kubectl apply -f secret.yaml\n" if contents.secrets else "",
        memory=_memory(contents),
        own_variables=_own_variables(contents),
        wheels_row="\n| `wheels/` | these packages, to install without a network |" if with_wheels else "",
        source="from `wheels/`, without a network" if with_wheels else "from the package index",
        port=PORT,
        cpus=cpu_ranges(contents.cpus),
        content_type=content_type,
        body=body.replace("'", r"'\''"),  # within single quotes of a shell
        folder=contents.folder,
        parent=contents.folder.rpartition("/")[0],
    )


_MAX_SHOWN = 40
"""Features of a row that is written out: with two characters each the command stays on a line."""

_WIDTH = 120
"""Characters of a line, as in the text above."""

_OWN_VARIABLES = """
`endpoint.json` names {names}, which may do more than tune: set them here for `./run` and for Docker, if you know who
exported this. The unit and the manifests do, with the values of the export.
"""

_SECRETS_ROW = "\n| `secrets.env`, `secret.yaml` | {names}: secrets, for you alone (mode 0600) |"


def _own_variables(contents: Contents) -> str:
    return _OWN_VARIABLES.format(names=", ".join(contents.own_variables)) if contents.own_variables else ""


def example_request(signature: Signature) -> tuple[str, str]:
    """Return the content type and the body of a request of zeros: a row, or an object of tensors where requests have
    sizes of their own. Dots stand for one that does not fit a line."""
    if signature.opaque:
        return "application/octet-stream", "..."
    if not signature.sizes:
        return "text/csv", ",".join(["0"] * signature.features) if signature.features <= _MAX_SHOWN else "..."
    places = signature.packing.places({size.name: 1 for size in signature.sizes})
    if sum(prod(place.shape) for place in places) > _MAX_SHOWN:
        return "application/json", "..."
    return "application/json", json.dumps({"instances": [{place.tensor.name: _zeros(place.shape) for place in places}]})


def _zeros(shape: Sequence[int]) -> Any:
    return [_zeros(shape[1:]) for _ in range(shape[0])] if shape else 0


def _artifact(contents: Contents) -> str:
    config = contents.config
    if config.signature.opaque:
        return f"the script and what lies beside it, which Python {config.artifact.backend_version} runs"
    compiled = f"the model compiled with {config.artifact.backend} {config.artifact.backend_version}"
    return f"{compiled}, which was compared with the model's own library"


def _memory(contents: Contents) -> str:
    return fill(
        f"{why_requested(contents)}. {own_cpus(contents)}. Otherwise the limit of CPUs is a quota of CFS, which stalls "
        "workers that use their share in bursts.",
        width=_WIDTH,
    )


def _summary(contents: Contents) -> str:
    deployable, signature = contents.deployable, contents.config.signature
    profile = deployable.profile
    takes = f"{signature.row_text}, {signature.task.value}"
    if signature.opaque:
        takes = "Requests go to the script as they are, and what it answers was compared with nothing"
    return fill(
        f"Served by {configuration_text(deployable.configuration)}, in an instance of {profile.vcpus} vCPU and "
        f"{contents.memory_mib:,} MiB ({profile.name}). {takes}.",
        width=_WIDTH,
    )
