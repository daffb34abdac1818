"""Starts what serves one configuration on this host, by either driver, and puts together what was recorded."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from servefit.errors import SpecError
from servefit.profiler.drivers.inprocess.workers import Workers, start_workers
from servefit.profiler.machine.cpus import choose_cpus, client_cpus
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.record.types import Configuration, Measurement, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    import numpy as np

    from servefit.backends.model.types import Signature
    from servefit.backends.types import Artifact
    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.drivers.driving.ending import Enough
    from servefit.profiler.drivers.http.bodies import Bodies
    from servefit.profiler.drivers.http.clients import HttpDriver
    from servefit.profiler.drivers.http.servers import HostedServer
    from servefit.profiler.evidence.stopping import StoppingConditions
    from servefit.profiler.machine.host import Host
    from servefit.profiler.record.types import Run, Traffic

MAX_CLIENTS = 8
"""They keep sixteen CPUs of the quickest servers busy (see the next)."""

SERVER_CPUS_PER_CLIENT = 2
"""A client takes a third of the time for a request that the quickest model and its server take."""


class HostedDriver:
    """A MeasuredDriver, made of ``clients`` and the ``server`` that they send to."""

    def __init__(self, clients: HttpDriver, server: HostedServer) -> None:
        self.configuration = server.configuration
        self.envelope = server.envelope
        self.load_s = server.load_s
        self.usual_users = server.usual_users
        self.destination = clients.destination
        self._clients = clients
        self._server = server

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of the endpoint that live now, the supervisor first."""
        return self._server.pids

    @property
    def client_pids(self) -> tuple[int, ...]:
        """The process ids of the load clients."""
        return self._clients.client_pids

    def run(self, traffic: Traffic, *, enough: Enough | None = None, stopping: StoppingConditions | None = None) -> Run:
        """Carry out ``traffic`` as ``HttpDriver.run`` does."""
        return self._clients.run(traffic, enough=enough, stopping=stopping)


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
    """Start workers of ``configuration`` in an envelope of its size, and of ``memory_bytes``, on ``host``.

    ``cpus`` are those of the envelope, ``outside`` those that this thread keeps to during a run (none: anywhere); None
    leaves the choice to ``choose_cpus`` and ``client_cpus``. Several threads may have workers at the same time, each on
    CPUs of its own (``disjoint_cpus``), and ``outside`` what none of them uses. Workers die with the thread that
    started them. Raises as ``start_workers`` does, and SpecError where the host is too small, lacks one of ``cpus``, or
    these are not as many as the configuration has.
    """
    cpus = _envelope_cpus(configuration, host, cpus)
    return start_workers(
        configuration,
        artifact,
        rows,
        cpus=cpus,
        outside=client_cpus(host.cpus, cpus) if outside is None else outside,
        memory_bytes=memory_bytes,
        rows_per_request=rows_per_request,
    )


@contextmanager
def endpoint_for(
    configuration: Configuration,
    artifact: Artifact,
    signature: Signature,
    rows: np.ndarray,
    *,
    host: Host,
    memory_bytes: int | None = None,
    rows_per_request: int = 1,
    written: Bodies | None = None,
    cpus: tuple[int, ...] | None = None,
    outside: tuple[int, ...] | None = None,
    timeout_s: float = 10.0,
) -> Iterator[HostedDriver]:
    """Start an endpoint that serves ``configuration`` in an envelope, as :func:`workers_for` does, and load clients
    that send it ``rows`` in their usual form. All of it is gone on exit. Who starts many has the bodies ``written``
    once (:func:`bodies_for`), which takes as long as an endpoint takes to start.

    The clients live on ``outside``, by default all CPUs that share no core with the envelope. Where there are none they
    share those of the envelope, and every run says so (see ``validity``). A request has failed after ``timeout_s``.

    Raises as ``hosted_endpoint`` and ``start_clients`` do, and SpecError as :func:`workers_for`.
    """
    from servefit.profiler.drivers.hosted_endpoint import endpoint_config, hosted_endpoint
    from servefit.profiler.drivers.http.bodies import usual_form
    from servefit.profiler.drivers.http.clients import start_clients
    from servefit.profiler.drivers.http.destination import Destination
    from servefit.profiler.drivers.http.servers import HostedServer
    from servefit.profiler.drivers.inprocess.workers import check_configuration

    check_configuration(configuration, rows_per_request)
    name, form = "model", usual_form(signature, rows, rows_per_request=rows_per_request)
    cpus = _envelope_cpus(configuration, host, cpus)
    outside = client_cpus(host.cpus, cpus) if outside is None else outside
    clients = min(len(outside or cpus), MAX_CLIENTS, -(-len(cpus) // SERVER_CPUS_PER_CLIENT))
    config = replace(endpoint_config(configuration, artifact, signature, name=name), tells_failures=True)
    with (
        measuring_slot(f"endpoint of {configuration.backend}") as slot,
        hosted_endpoint(config, cpus=cpus, memory_bytes=memory_bytes, slot=slot) as hosted,
    ):
        server = HostedServer(hosted, configuration, name=name)
        destination = Destination.of(hosted.url, form, model=name)
        with start_clients(
            replace(destination, **_layout(signature), written=written),
            rows,
            server,
            cpus=(outside or cpus)[:clients],
            own_cpus=outside[clients:],
            shares_cpus=not outside,
            rows_per_request=rows_per_request,
            timeout_s=timeout_s,
        ) as driver:
            yield HostedDriver(driver, server)


def bodies_for(signature: Signature, rows: np.ndarray, *, rows_per_request: int = 1) -> Bodies:
    """Return the bodies of all requests with ``rows`` to an endpoint of ours that serves a model of ``signature``, in
    their usual form."""
    from servefit.profiler.drivers.http.bodies import bodies, usual_form

    form = usual_form(signature, rows, rows_per_request=rows_per_request)
    return tuple(bodies(form, rows, rows_per_request=rows_per_request, **_layout(signature)))


def _layout(signature: Signature) -> dict[str, Any]:
    """Return how an endpoint of ours takes rows, as arguments of ``bodies`` and of a Destination."""
    from servefit.profiler.drivers.http.bodies import Tensor
    from servefit.serving.protocols.metadata import inputs_of

    return {
        "tensors": tuple(Tensor(*described) for described in inputs_of(signature)),
        "packing": signature.packing if signature.sizes else None,
    }


def _envelope_cpus(configuration: Configuration, host: Host, cpus: tuple[int, ...] | None) -> tuple[int, ...]:
    if cpus is None:
        return choose_cpus(host.cpus, configuration.vcpus)
    if len(set(cpus)) != configuration.vcpus:
        raise SpecError("cpus", cpus, f"are not the {configuration.vcpus} of the configuration")
    if missing := set(cpus) - {cpu.cpu for cpu in host.cpus}:
        raise SpecError("cpus", cpus, f"are not all on this host: {', '.join(map(str, sorted(missing)))}")
    return cpus


def assemble(driver: MeasuredDriver, runs: Iterable[Run], host: Host) -> Measurement:
    """Make the measurement that ``runs``, one or more, made by ``driver``, amount to."""
    runs = tuple(runs)
    return Measurement(
        configuration=driver.configuration,
        host_fingerprint=host.fingerprint,
        containment=driver.envelope.containment,
        envelope=driver.envelope.method,
        memory_limit_bytes=driver.envelope.memory_limit_bytes,
        cpus=driver.envelope.cpus,
        runs=runs,
        load_s=driver.load_s,
        peak_memory_bytes=max(run.peak_memory_bytes or 0 for run in runs),
    )
