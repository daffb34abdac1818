"""The validity of a load from several clients: did they send as one client would have? A pure function of what they
answered. What each finds wrong with its own run is in its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.profiler.evidence import problem
from servefit.quantities import ms_text, percent_text
from servefit.search.fleet.load.merging import overlap
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.evidence.summary import Summary
    from servefit.search.fleet.load_orders import LoadPart

Kind: TypeAlias = problem.Kind | Literal["lost", "not ready", "overlap", "distance", "endpoints differ"]

MIN_OVERLAP = 0.95
"""Of the longest run: then the rate was missed by 5 % at most, on average. Chosen, not measured."""

DISTANCE = 0.1
"""Of the limit, that the median of one client may differ from that of the others. Chosen: a client that is farther away
by as much moves the merged percentile by less than that."""

MIN_P95_MS = 4.0
"""The least p95 that stands in for a limit, as for the lag of a client: two hosts differ by 0.1 ms of their own."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProblem:
    """A reason not to believe a load from several clients: that of the client on ``host``, or of all of them (None).
    One that is ``noise`` was the machine's doing, and may be allowed."""

    host: str | None
    kind: Kind
    reason: str
    remedy: str
    noise: bool = False

    @property
    def text(self) -> str:
        return self.reason if self.host is None else f"{self.host}: {self.reason}"


def problems_together(
    parts: Sequence[tuple[str, LoadPart]], thresholds: Sequence[LatencyThreshold], merged: Summary
) -> tuple[ClientProblem, ...]:
    """Find everything that makes the load of these clients, one or more, by their hosts, a bad measurement."""
    own = [
        ClientProblem(
            host=host,
            kind=flaw.kind,
            reason=flaw.reason,
            remedy=flaw.remedy,
            # A client that fell behind its schedule produced another load, however quiet its machine.
            noise=not flaw.is_of_the_client or flaw.kind == "client on the server's CPUs",
        )
        for host, part in parts
        for flaw in part.problems
    ]
    together = (_different_endpoints(parts), _apart_in_time(parts), _farther_away(parts, thresholds, merged))
    return (*own, *(client_problem for client_problem in together if client_problem is not None))


def _different_endpoints(parts: Sequence[tuple[str, LoadPart]]) -> ClientProblem | None:
    spoken = {part.protocol: host for host, part in parts}
    if len(spoken) == 1:
        return None
    protocols = ", ".join(f"{protocol} to {host}" for protocol, host in spoken.items())
    return ClientProblem(
        host=None,
        kind="endpoints differ",
        reason=f"the endpoint does not speak the same to all clients: {protocols}",
        remedy="give --protocol, or see what else answers at that address",
    )


def _apart_in_time(parts: Sequence[tuple[str, LoadPart]]) -> ClientProblem | None:
    if any(part.backlog for _, part in parts):
        return None  # the endpoint did not keep up, and ended the run of a client
    share = overlap([part for _, part in parts])
    if share >= MIN_OVERLAP:
        return None
    host, late = max(parts, key=lambda client: client[1].began_s + client[1].late_s)
    return ClientProblem(
        host=None,
        kind="overlap",
        reason=f"clients surely sent together for {percent_text(share)} of the time, {percent_text(MIN_OVERLAP)} are "
        f"asked for; the last to begin was {host}, {ms_text(1000 * late.late_s)} after its first request was due",
        remedy="see what else that host does, give more time (--duration), or use other clients",
    )


def _farther_away(
    parts: Sequence[tuple[str, LoadPart]], thresholds: Sequence[LatencyThreshold], merged: Summary
) -> ClientProblem | None:
    """Find the client whose median differs most from the median one of the others, if that is too much."""
    medians = [
        (host, p50_ms, part.summary.latency_ms_ci95.get("p50", (p50_ms, p50_ms)))
        for host, part in parts
        if (p50_ms := part.summary.latency_ms["p50"]) is not None
    ]
    if len(medians) < 2:
        return None
    limit_ms = min((threshold.limit_ms for threshold in thresholds), default=None)
    # As with the lag of a client: the bound is not below the noise of very fast endpoints.
    allowed_ms = DISTANCE * (max(merged.latency_ms["p95"] or 0.0, MIN_P95_MS) if limit_ms is None else limit_ms)

    def from_others_ms(nth: int) -> float:
        return medians[nth][1] - median(p50_ms for other, (_, p50_ms, _) in enumerate(medians) if other != nth)

    # Two clients differ from each other by the same amount: the slower one counts.
    farthest = max(range(len(medians)), key=lambda nth: (abs(from_others_ms(nth)), from_others_ms(nth)))
    away_ms = from_others_ms(farthest)
    host, p50_ms, (low_ms, high_ms) = medians[farthest]
    others = [interval for nth, (_, _, interval) in enumerate(medians) if nth != farthest]
    surely = all(low_ms > high or high_ms < low for low, high in others)
    if abs(away_ms) <= allowed_ms or not surely:
        return None
    of = f"a tenth of {'the p95' if limit_ms is None else 'the limit'}"
    return ClientProblem(
        host=None,
        kind="distance",
        reason=f"{host} is {ms_text(abs(away_ms))} {'farther away' if away_ms > 0 else 'nearer'} than the others: "
        f"its p50 is {ms_text(p50_ms)}, theirs {ms_text(p50_ms - away_ms)}; {ms_text(allowed_ms)} are allowed, {of}",
        remedy="load from clients that are as near as users are, or from each alone",
    )
