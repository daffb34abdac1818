"""Starts the workers of one configuration on this host, and puts together what they recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.errors import SpecError
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
    cpus: tuple[int, ...] | None = None,
    outside: tuple[int, ...] | None = None,
) -> AbstractContextManager[Workers]:
    """Workers of ``configuration`` in an envelope of its size, and of ``memory_bytes``, on ``host``.

    ``cpus`` are those of the envelope, ``outside`` those that this thread keeps to during a run (none: anywhere); None
    leaves the choice to ``choose_cpus`` and ``client_cpus``. Several threads may have workers at the same time, each on
    CPUs of its own (``disjoint_cpus``), and ``outside`` what none of them uses. Workers die with the thread that
    started them. Raises as ``start_workers`` does, and SpecError where the host is too small, lacks one of ``cpus``, or
    these are not as many as the configuration has.
    """
    if cpus is None:
        cpus = choose_cpus(host.cpus, configuration.vcpus)
    elif len(set(cpus)) != configuration.vcpus:
        raise SpecError("cpus", cpus, f"are not the {configuration.vcpus} of the configuration")
    elif missing := set(cpus) - {cpu.cpu for cpu in host.cpus}:
        raise SpecError("cpus", cpus, f"are not all on this host: {', '.join(map(str, sorted(missing)))}")
    return start_workers(
        configuration,
        artifact,
        rows,
        cpus=cpus,
        outside=client_cpus(host.cpus, cpus) if outside is None else outside,
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
