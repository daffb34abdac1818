"""The Dockerfile of a bundle: SageMaker's container contract, and what any other container platform expects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.search.deployment.bundle.contents import PORT
from servefit.search.deployment.bundle.requirements import python_version
from servefit.search.deployment.bundle.secret_files import MANIFEST, VARIABLES
from servefit.search.deployment.bundle.starting import VENV
from servefit.search.deployment.deployable import cpu_ranges

if TYPE_CHECKING:
    from servefit.search.deployment.bundle.contents import Contents

USER = 10001
"""The user and the group of the container: not root. Chosen, not measured."""

_NEED_OPENMP = frozenset({"lightgbm", "tl2cgen"})
"""Backends whose libraries bring no OpenMP of their own."""

_OPENMP = """\
# What {backend} runs its threads with
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
"""

_DOCKERFILE = """\
# docker build -t {image} .
# {docker_run}
FROM python:{python}-slim
# SageMaker may give the container a port of its own, in SAGEMAKER_BIND_TO_PORT
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
{openmp}WORKDIR {folder}
# The environment first: it changes less often than the model
COPY {copied}
RUN PIP_NO_CACHE_DIR=1 ./run install
COPY lib lib
RUN {venv}/bin/python -m compileall -q lib
COPY artifact artifact
COPY model model
COPY endpoint.json SHA256SUMS ./
USER {user}:{user}
ENV SERVEFIT_HOST=0.0.0.0
EXPOSE {port}
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s CMD ["{folder}/run", "health"]
# SageMaker runs it with "serve", which is also the default
ENTRYPOINT ["{folder}/run"]
CMD ["serve"]
"""

_IGNORED = """\
{venv}
**/__pycache__
{variables}
{manifest}
"""


def dockerfile(contents: Contents, *, with_wheels: bool) -> str:
    """Return the text of Dockerfile."""
    backend = contents.config.artifact.backend
    # A folder among several sources would be copied without its name.
    files = "run requirements.lock"
    copied = f"{files} ./\nCOPY wheels wheels" if with_wheels else f"{files} ./"
    return _DOCKERFILE.format(
        image=contents.image,
        port=PORT,
        docker_run=docker_run(contents),
        python=python_version(),
        openmp=_OPENMP.format(backend=backend) if backend in _NEED_OPENMP else "",
        folder=contents.folder,
        copied=copied,
        venv=VENV,
        user=USER,
    )


def docker_run(contents: Contents) -> str:
    """Return the command that runs the image in the envelope of the profile."""
    gpus = " --gpus 1" if contents.on_gpu else ""
    memory = f"--memory {contents.memory_mib}m --memory-swap {contents.memory_mib}m"
    # By name alone: Docker takes the values from its own environment.
    variables = "".join(f" --env {name}" for name in (*contents.own_variables, *contents.secrets))
    cpus = f"--cpuset-cpus {cpu_ranges(contents.cpus)}"
    return f"docker run --rm{gpus} -p {PORT}:{PORT} {cpus} {memory}{variables} {contents.image}"


def dockerignore() -> str:
    """Return the text of .dockerignore."""
    return _IGNORED.format(venv=VENV, variables=VARIABLES, manifest=MANIFEST)
