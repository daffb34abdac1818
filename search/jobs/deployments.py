"""Deployments of a job to put under load: workers of its model, or an endpoint with load clients, each to be started.

Which of the two a test takes is said here. What is done with it is for ``measurer``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from servefit.profiler.drivers.http.bodies import mean_body_bytes, usual_form
from servefit.profiler.drivers.start_driver import bodies_for, endpoint_for, workers_for
from servefit.search.jobs.closing import has_client_cpu
from servefit.search.jobs.cpu_slots import ANYWHERE, CpuSlot

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact
    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.drivers.http.bodies import Bodies, Form
    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.record.types import Configuration
    from servefit.search.storage.header import JobHeader


def is_predicted(configuration: Configuration, header: JobHeader) -> bool:
    """Return whether ``configuration`` is to be an endpoint that no client has a CPU for."""
    return header.request.deployment == "endpoint" and not has_client_cpu(configuration, header.host)


@dataclass(kw_only=True)
class Deployments:
    """The configurations of a job as they are started on this host: of ``artifacts``, in envelopes that have so many
    ``memory_bytes``, or all memory where that is None."""

    header: JobHeader
    payload: Payload
    artifacts: Sequence[Artifact] = ()

    def asked_for(
        self, configuration: Configuration, slot: CpuSlot, *, memory_bytes: int | None
    ) -> AbstractContextManager[MeasuredDriver]:
        """Return what a test of ``configuration`` measures: the endpoint where that is deployed and a client has a CPU,
        else the workers."""
        if self.header.request.deployment == "library" or is_predicted(configuration, self.header):
            return self.workers(configuration, slot=slot, memory_bytes=memory_bytes)
        return self.endpoint(configuration, slot=slot, memory_bytes=memory_bytes)

    def other(
        self, configuration: Configuration, *, memory_bytes: int | None
    ) -> AbstractContextManager[MeasuredDriver]:
        """Return the deployment that was not asked for."""
        if self.header.request.deployment == "library":
            return self.endpoint(configuration, memory_bytes=memory_bytes)
        return self.workers(configuration, memory_bytes=memory_bytes)

    def workers(
        self, configuration: Configuration, *, slot: CpuSlot = ANYWHERE, memory_bytes: int | None = None
    ) -> AbstractContextManager[Workers]:
        """Return the workers of ``configuration`` in ``slot``."""
        return workers_for(
            configuration,
            self._artifact(configuration),
            self.payload.rows,
            host=self.header.host,
            memory_bytes=memory_bytes,
            rows_per_request=self.header.request.rows_per_request,
            cpus=slot.cpus,
            outside=slot.outside,
        )

    def endpoint(
        self, configuration: Configuration, *, slot: CpuSlot = ANYWHERE, memory_bytes: int | None = None
    ) -> AbstractContextManager[MeasuredDriver]:
        """Return an endpoint of ``configuration`` in ``slot`` with its load clients, which are outside of it."""
        return endpoint_for(
            configuration,
            self._artifact(configuration),
            self.header.model.signature,
            self.payload.rows,
            host=self.header.host,
            memory_bytes=memory_bytes,
            rows_per_request=self.header.request.rows_per_request,
            written=self._bodies,
            cpus=slot.cpus,
            outside=slot.outside,
        )

    @cached_property
    def _bodies(self) -> Bodies:
        """The bodies of all requests, written once for all endpoints of the job."""
        rows = self.header.request.rows_per_request
        return bodies_for(self.header.model.signature, self.payload.rows, rows_per_request=rows)

    @property
    def form(self) -> Form:
        """The form of the requests to an endpoint."""
        rows = self.header.request.rows_per_request
        return usual_form(self.header.model.signature, self.payload.rows, rows_per_request=rows)

    @property
    def request_bytes(self) -> int:
        """The mean length of the body of a request to an endpoint."""
        rows = self.header.request.rows_per_request
        signature = self.header.model.signature
        packing = signature.packing if signature.sizes else None
        return mean_body_bytes(self.form, self.payload.rows, rows_per_request=rows, packing=packing)

    def _artifact(self, configuration: Configuration) -> Artifact:
        wanted = configuration.backend, configuration.target
        return next(artifact for artifact in self.artifacts if (artifact.backend, artifact.target) == wanted)
