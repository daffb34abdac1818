"""Patience of balancers of every kind: the time that they wait for a host, and the requests that they send to another
one.

Predictions are idempotent, so a request whose connection broke before an answer began is sent to another host. One that
is only slow is never sent again: its host is predicting it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.serving.config import Limits

if TYPE_CHECKING:
    from servefit.search.request.sla import Sla

CONNECT_MS = 250
"""A host that is alive accepts a connection within the round trip of its network, whatever it computes: its kernel
does. Chosen, not measured."""

MAX_TRIES = 4
"""Hosts that a request is sent to at most: while three are dead it is answered, and waits for them a second at most,
``CONNECT_MS`` each."""

UNACKNOWLEDGED_MS = 300
"""An open connection is dead when the kernel of the host has acknowledged nothing for so long after what was sent had
to be sent again, which Linux does after 200 ms (RFC 6298): half a second. How long an answer takes does not count."""

PROBE_S = 1
"""A connection on which nothing comes is probed after so long, and is dead if the probe is not answered within as long:
the least that TCP_KEEPIDLE and TCP_KEEPINTVL take."""

MAX_FAILURES = 2
"""A host that could not be reached so often, one time after the other, is left out until it can be."""

CHECK_S = 1
"""Hosts are asked so often whether they are ready. Chosen, not measured."""

READY_PATH = "/v2/health/ready"
"""The path of their health checks: an endpoint that is about to stop says no, and finishes what it has."""

MAX_BODY_BYTES = Limits().body_bytes
"""The longest body that an endpoint takes, unless it was given other limits."""

_MIN_ANSWER_S = 2 * Limits().call_timeout_s
"""An endpoint ends a call of its predictor after ``call_timeout_s``; a request may wait for another one before its
own."""


def answer_s(sla: Sla) -> int:
    """Return the seconds that a balancer waits for an answer: never less than the SLA allows, twice over."""
    slowest_s = max((threshold.limit_ms for threshold in sla.thresholds), default=0.0) / 1000
    return round(max(_MIN_ANSWER_S, 2 * slowest_s + 1))
