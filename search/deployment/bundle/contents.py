"""The contents of a bundle's files: one deployable, as one endpoint, with the names that it has outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servefit.backends.model.names import label_of
from servefit.backends.types import Target
from servefit.backends.variables.allowed_variables import ALLOWED
from servefit.backends.variables.environment import worker_environment
from servefit.search.deployment.bundle.pythons import Pythons

if TYPE_CHECKING:
    from servefit.search.deployment.deployable import Deployable
    from servefit.serving.config import EndpointConfig

PORT = 8080
"""SageMaker's, and the usual one of model servers."""

GRACE_MARGIN_S = 10
"""Seconds that are added to the time that an endpoint may take to finish what is in flight, before it is killed.
Chosen, not measured."""

GPU_ORDER = "CUDA_DEVICE_ORDER"
_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """``config`` is the endpoint as the bundle describes it, without the ``secrets`` of its environment. ``cpus`` are
    those of the envelope on the host where it was measured, ``pins`` the lines of requirements.lock, and ``model_file``
    is the name of the model in ``model/``. It runs on ``pythons``. ``version`` is that of the bundle by its SHA256SUMS,
    empty until it has them."""

    deployable: Deployable
    config: EndpointConfig
    secrets: Mapping[str, str]
    cpus: tuple[int, ...]
    pins: tuple[str, ...]
    model_file: str
    pythons: Pythons = field(default_factory=lambda: Pythons.exporting("its packages were not looked for yet"))
    version: str = ""

    @property
    def label(self) -> str:
        """The name of the endpoint as Kubernetes, systemd and Docker all take it."""
        return label_of(self.config.name)

    @property
    def secret(self) -> str:
        """The name of the secrets in Kubernetes."""
        return f"{self.label}-env"

    @property
    def image(self) -> str:
        """The image, tagged by the version of the bundle."""
        return f"{self.label}:{self.version}"

    @property
    def folder(self) -> str:
        """The folder in which the image has the bundle, and a machine its versions."""
        return f"/opt/servefit/{self.label}"

    @property
    def current(self) -> str:
        """The link to the version of the bundle that a machine runs."""
        return f"{self.folder}/current"

    @property
    def on_gpu(self) -> bool:
        return self.deployable.configuration.target is Target.CUDA

    @property
    def memory_mib(self) -> int:
        return self.deployable.profile.memory_bytes // _MEBIBYTE

    @property
    def stop_s(self) -> int:
        """The seconds between SIGTERM and SIGKILL."""
        return round(self.config.limits.grace_s) + GRACE_MARGIN_S

    @property
    def environment(self) -> dict[str, str]:
        """The variables that workers get: those of their thread pools, and the user's own."""
        made = worker_environment(self.config.settings.threads, self.config.environment)
        return {name: value for name, value in made.items() if name != GPU_ORDER}

    @property
    def own_variables(self) -> tuple[str, ...]:
        """The variables that the machine has to set itself, by name: the user's own, which are not on the list."""
        return tuple(name for name, _ in self.config.environment if name not in ALLOWED)

    @property
    def gpu_environment(self) -> dict[str, str]:
        """The variables that choose the GPU, on this host. Containers are given theirs, and number them anew."""
        gpu = self.deployable.configuration.gpu
        return {} if gpu is None else {GPU_ORDER: "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu)}
