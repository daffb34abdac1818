"""Runs of an endpoint that is not ours: what a measurement is where nothing is known of configuration and envelope."""

from __future__ import annotations

from servefit.profiler.record.types import Run  # noqa: TC001 - documents looks annotations up when it runs
from servefit.showing import shown
from servefit.stored import Stored


@shown()
class EndpointRuns(Stored, frozen=True, kw_only=True):
    """``runs`` of the endpoint at ``url``, which was sent requests in ``form``, by clients on the host of that
    fingerprint."""

    url: str
    form: str
    host_fingerprint: str
    runs: tuple[Run, ...]
