"""The rules of ``validity`` for a load client: did it keep up, and leave the server alone?

They are for runs over HTTP. In process there is no client, and what is offered arrives by definition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.problem import Problem
from servefit.profiler.record.traffic import ClosedLoop
from servefit.quantities import number_text

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run

_MAX_CLIENT_PERCENT = 80.0
"""Of its CPU: beyond it, a client is itself a queue that answers wait in."""

_BUSY_CLIENT_PERCENT = 50.0
"""A client that was idle for more of the time did not keep requests back."""

_MAX_CLIENT_WAITED_PERCENT = 5.0
"""Of the time, as of the workers' threads."""

_MIN_SENT = 0.99
"""Of what was due: what is missing may be in flight at the end of a run."""


def load_on_the_client(run: Run) -> Problem | None:
    client = run.client
    if client is None or client.waited_percent is None or not isinstance(run.traffic, ClosedLoop):
        return None
    if client.waited_percent <= _MAX_CLIENT_WAITED_PERCENT:
        return None
    return Problem(
        kind="competing load",
        reason=f"the load client waited for its CPU for {number_text(client.waited_percent)} % of the time, "
        f"{number_text(_MAX_CLIENT_WAITED_PERCENT)} % are allowed",
        remedy="stop what else runs here; servefit host names it",
    )


def client_on_the_servers_cpus(run: Run) -> Problem | None:
    if run.client is None or not run.client.shares_cpus:
        return None
    return Problem(
        kind="client on the server's CPUs",
        reason="no CPU was left for the load client, which took time from the server that it measures",
        remedy="give the server fewer CPUs (--profile), or measure in process",
    )


def client_saturated(run: Run) -> Problem | None:
    if run.client is None or run.client.cpu_percent is None or run.client.cpu_percent <= _MAX_CLIENT_PERCENT:
        return None
    return Problem(
        kind="client saturated",
        reason=f"the load client used {number_text(run.client.cpu_percent)} % of its CPU, "
        f"{number_text(_MAX_CLIENT_PERCENT)} % are allowed: the server may be able to do more",
        remedy="leave more CPUs to the client, or measure in process",
    )


def client_behind(run: Run) -> Problem | None:
    if run.client is None or isinstance(run.traffic, ClosedLoop) or not run.offered:
        return None
    begin, end = run.plateau_ns
    scheduled, started = run.samples.scheduled_ns(), run.samples.started_ns()
    sent = int(np.count_nonzero((scheduled >= begin) & (scheduled < end) & (started > 0) & (started < end)))
    if sent >= _MIN_SENT * run.offered or (run.client.cpu_percent or 0.0) < _BUSY_CLIENT_PERCENT:
        return None
    return Problem(
        kind="client behind",
        reason=f"the load client sent {sent:,} of {run.offered:,} requests that were due, and was busy for "
        f"{number_text(run.client.cpu_percent or 0.0)} % of the time",
        remedy="leave more CPUs to the client, or ask for a lower rate",
    )
