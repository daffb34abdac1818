"""Starts the workers of one configuration on this host, and puts together what they recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.cpus import choose_cpus, client_cpus
from servefit.profiler.inprocess.workers import Workers, start_workers
from servefit.profiler.types import Configuration, Measurement, Run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    import numpy as np

    from servefit.backends.types import Artifact
    from servefit.profiler.host import Host


def workers_for(
    configuration: Configuration,
    artifact: Artifact,
    rows: np.ndarray,
    *,
    host: Host,
    memory_bytes: int | None = None,
    rows_per_request: int = 1,
) -> AbstractContextManager[Workers]:
    """Workers of ``configuration`` in an envelope of its size, and of ``memory_bytes``, on ``host``. Raises as
    ``start_workers`` does, and SpecError where the host is too small."""
    cpus = choose_cpus(host.cpus, configuration.vcpus)
    return start_workers(
        configuration,
        artifact,
        rows,
        cpus=cpus,
        outside=client_cpus(host.cpus, cpus),
        memory_bytes=memory_bytes,
        rows_per_request=rows_per_request,
    )


def assemble(workers: Workers, runs: Iterable[Run], host: Host) -> Measurement:
    """The measurement that ``runs``, one or more, made by ``workers``, amount to."""
    runs = tuple(runs)
    return Measurement(
        configuration=workers.configuration,
        host_fingerprint=host.fingerprint,
        containment=workers.envelope.containment,
        envelope=workers.envelope.method,
        memory_limit_bytes=workers.envelope.memory_limit_bytes,
        cpus=workers.envelope.cpus,
        runs=runs,
        load_s=workers.load_s,
        peak_memory_bytes=max(run.peak_memory_bytes for run in runs),
    )
