"""The bundle's README.md: the contents of the folder, and the ways to start it."""

from __future__ import annotations

import json
from math import prod
from textwrap import fill
from typing import TYPE_CHECKING, Any

from servefit.search.deployment.bundle.container import docker_run
from servefit.search.deployment.bundle.contents import PORT
from servefit.search.deployment.bundle.memory import own_cpus, why_requested
from servefit.search.deployment.bundle.requirements import platform_name
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
| `requirements.lock` | the Python packages, for Python {pythons} on {platform} |
| `lib/` | the part of servefit that serves |{wheels_row}{secrets_row}
| `{label}.service` | a unit for systemd |
| `Dockerfile` | an image, for SageMaker too |
| `kserve.yaml`, `kubernetes.yaml` | for Kubernetes with KServe, and without |

## By hand

    ./run
{own_variables}
{needs}
It listens on 127.0.0.1:{port}, unless `--host` and `--port` say otherwise. By itself it keeps to no CPUs:

    taskset --cpu-list {cpus} ./run --port 9000

    curl http://127.0.0.1:{port}/v2/models/{name}
    curl -H 'Content-Type: {content_type}' --data '{body}' http://127.0.0.1:{port}/invocations

The next version of the bundle goes into another folder, and never over one that runs. A running endpoint keeps to its
own folder, also for workers that it starts again. To update, make the environment of the new one (`./run install`), end
the old endpoint with SIGTERM, which answers what it has accepted, and start the new one; to roll back, start the old.

There is no authentication and no TLS: put something in front of it before it listens beyond its machine.

## systemd

    sudo mkdir -p {folder}/{version}
    sudo cp -r . {folder}/{version}
    sudo {folder}/{version}/run install

Each version has a folder of its own there, so that nothing that runs is written over. The unit starts what the link
`current` points at. To update to this version:

    sudo ln -sfn {version} {folder}/next && sudo mv -T {folder}/next {current}
    sudo cp {current}/{label}.service /etc/systemd/system/
    sudo systemctl daemon-reload
    sudo systemctl enable {label}
    sudo systemctl restart {label}

To roll back, do the same with the version before in place of {version}.

The unit holds it to CPU {cpus} and to {memory_mib:,} MiB, without swap. Change the CPUs to those that this machine can
spare.

## Docker, and SageMaker

    docker build -t {image} .{docker_secrets}
    {docker_run}

The image listens on 8080, or where SAGEMAKER_BIND_TO_PORT says, answers `/ping` and `/invocations`, takes the argument
`serve`, and runs as nobody in particular. Its tag is the version of this bundle, the first digits of the SHA-256 of
`SHA256SUMS`: another deployment has another one. After a change of `endpoint.json` give it a tag of your own.

To update, stop the old container (`docker stop --time {stop_s}`), and run the new image; to roll back, run the old one.

## Kubernetes

Push the image, and name it in the manifest as your registry does.

{kubernetes_secrets}    kubectl apply -f kserve.yaml            with KServe
    kubectl apply -f kubernetes.yaml        without: a Deployment and a Service

The same commands update to this version, pod by pod: the image of another version has another tag. To roll back:

    kubectl apply -f kserve.yaml            with KServe: in the bundle of the version before
    kubectl rollout undo deployment/{label}

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
        pythons=contents.pythons.text,
        needs=_needs(contents, with_wheels=with_wheels),
        platform=platform_name(),
        secrets_row=_SECRETS_ROW.format(names=", ".join(contents.secrets)) if contents.secrets else "",
        docker_secrets="\n    set -a; . ./secrets.env; set +a" if contents.secrets else "",
        kubernetes_secrets="    kubectl apply -f secret.yaml\n" if contents.secrets else "",
        memory=_memory(contents),
        own_variables=_own_variables(contents),
        wheels_row="\n| `wheels/` | these packages, to install without a network |" if with_wheels else "",
        port=PORT,
        cpus=cpu_ranges(contents.cpus),
        content_type=content_type,
        body=body.replace("'", r"'\''"),  # within single quotes of a shell
        folder=contents.folder,
        current=contents.current,
        version=contents.version,
        stop_s=contents.stop_s,
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


def _needs(contents: Contents, *, with_wheels: bool) -> str:
    source = "from `wheels/`, without a network" if with_wheels else "from the package index"
    reason = f" No other Python will do: {contents.pythons.reason}." if contents.pythons.reason else ""
    return fill(
        f"It needs Python {contents.pythons.text} and nothing else.{reason} The first start makes an environment in "
        f"`.venv` {source}; `./run install` does only that.",
        width=_WIDTH,
        break_on_hyphens=False,
    )


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
