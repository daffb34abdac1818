"""Load clients together with the endpoint of ours that they load: a driver of something that was started for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.profiler.drivers.driving.ending import Enough
    from servefit.profiler.drivers.http.clients import HttpDriver
    from servefit.profiler.drivers.http.servers import HostedServer
    from servefit.profiler.evidence.stopping import StoppingConditions
    from servefit.profiler.record.types import Run, Traffic


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
