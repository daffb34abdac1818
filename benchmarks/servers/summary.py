"""From runs of wrk to figures: medians over rounds, ratios within rounds, and what of the targets is reached.

A run with an error counts for nothing but itself. servefit is represented by one configuration in all comparisons, the
one with the highest rate at 16 connections, and the others by whichever was best in the round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.servers.contenders import Serves
    from benchmarks.servers.wrk import Found

_JUDGED_AT = 16
_BUSY_CLIENT = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One server under one load in one round. ``server_cpu`` is the share of its CPU that it used."""

    server: str
    serves: Serves
    round: int
    connections: int
    found: Found
    server_cpu: float

    @property
    def counts(self) -> bool:
        return not self.found.errors and self.found.requests > 0


def figures(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return by server and connections the medians of the rounds that count, and what went wrong in the others."""
    found: dict[str, dict[str, Any]] = {}
    for server in dict.fromkeys(run.server for run in runs):
        of_server = [run for run in runs if run.server == server]
        by_load = {
            str(connections): _cell([run for run in of_server if run.connections == connections])
            for connections in sorted({run.connections for run in of_server})
        }
        found[server] = by_load
    return found


def _cell(runs: Sequence[Run]) -> dict[str, Any]:
    good = [run for run in runs if run.counts]
    cell: dict[str, Any] = {
        "rate_per_s": _median(good, lambda run: run.found.rate_per_s, 1),
        "p50_us": _median(good, lambda run: run.found.p50_us, 1),
        "p99_us": _median(good, lambda run: run.found.p99_us, 1),
        "rates_per_s": [round(run.found.rate_per_s, 1) for run in good],
        "server_cpu": _median(good, lambda run: run.server_cpu, 2),
        "client_cpu": _median(good, lambda run: run.found.client_cpu, 2),
    }
    if cell["client_cpu"] is not None and cell["client_cpu"] > _BUSY_CLIENT:
        cell["client_bound"] = True
    if discarded := [dict(run.found.errors) for run in runs if not run.counts]:
        cell["discarded"] = discarded
    return cell


def _median(runs: Sequence[Run], value: Callable[[Run], float], digits: int) -> float | None:
    return round(median(map(value, runs)), digits) if runs else None


def representative(runs: Sequence[Run]) -> str | None:
    """Return the configuration of servefit with the highest median rate at 16 connections."""
    rates: dict[str, list[float]] = {}
    for run in runs:
        if run.serves == "servefit" and run.connections == _JUDGED_AT and run.counts:
            rates.setdefault(run.server, []).append(run.found.rate_per_s)
    return max(rates, key=lambda server: median(rates[server]), default=None)


def ratios(runs: Sequence[Run], server: str, against: Serves) -> dict[str, dict[str, Any]]:
    """Return by connections the rate of ``server`` over the best rate of those that serve ``against``, in each
    round."""
    found: dict[str, dict[str, Any]] = {}
    for connections in sorted({run.connections for run in runs}):
        good = [run for run in runs if run.connections == connections and run.counts]
        ours = {run.round: run.found.rate_per_s for run in good if run.server == server}
        best: dict[int, Run] = {}
        for run in good:
            if run.serves == against and run.found.rate_per_s > _rate(best.get(run.round)):
                best[run.round] = run
        rounds = sorted(ours.keys() & best.keys())
        of_rounds = [ours[number] / best[number].found.rate_per_s for number in rounds]
        found[str(connections)] = {
            "median": round(median(of_rounds), 2) if of_rounds else None,
            "rounds": [round(ratio, 2) for ratio in of_rounds],
            "best": sorted({best[number].server for number in rounds}),
        }
    return found


def _rate(run: Run | None) -> float:
    return run.found.rate_per_s if run else 0.0


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Return everything that is derived from ``runs``."""
    servers, server = figures(runs), representative(runs)
    if server is None:
        return {"servers": servers}
    against = {kind: ratios(runs, server, kind) for kind in _TARGET_RATIOS}
    return {
        "servers": servers,
        "compared": server,
        "rate over the best server of the model as xgboost loads it": against["xgboost"],
        "rate over FastAPI + onnxruntime": against["onnxruntime"],
        "targets": _targets(servers[server], against),
    }


_TARGET_RATIOS: Mapping[Serves, float] = {"xgboost": 8.0, "onnxruntime": 4.0}
_TARGET_LATENCIES_US = ((1, "p50_us", 150.0), (_JUDGED_AT, "p99_us", 1000.0))


def _targets(servefit: Mapping[str, Any], against: Mapping[Serves, Mapping[str, Any]]) -> list[dict[str, Any]]:
    def targets() -> Iterable[tuple[str, float, float | None, bool]]:
        for kind, least in _TARGET_RATIOS.items():
            found = against[kind].get(str(_JUDGED_AT), {}).get("median")
            what = f"rate over the best that serves {kind}, at {_JUDGED_AT} connections, at least"
            yield what, least, found, found is not None and found >= least
        for connections, name, most in _TARGET_LATENCIES_US:
            found = servefit.get(str(connections), {}).get(name)
            yield f"{name}, connections: {connections}, below", most, found, found is not None and found < most

    return [{"target": what, "aim": aim, "found": found, "reached": yes} for what, aim, found, yes in targets()]
