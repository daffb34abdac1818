"""Interference, worked out of runs with known times."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.recorded_runs import S, recorded_run

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.traffic import OpenLoop
from servefit.search.fleet.sharing.interference import SideRuns, change, side_loaded
from servefit.search.fleet.sharing.pair_bench import together
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run

RATE_PER_S = 200.0


def run_of(call_ms: float, *, seed: int, duration_s: float = 3.0, begins_s: float = 0.0) -> Run:
    """Calls of about that long, so seldom that none waits."""
    random = np.random.default_rng(seed)
    count = round(RATE_PER_S * duration_s)
    due = S + np.round((begins_s + np.arange(count) / RATE_PER_S) * S).astype(np.int64)
    ended = due + np.round(random.uniform(0.9, 1.1, count) * call_ms * 1e6).astype(np.int64)
    traffic = OpenLoop(rate_per_s=RATE_PER_S, duration_s=duration_s)
    run = recorded_run(traffic, due, ended, until_ns=S + round((begins_s + duration_s) * S))
    return replace(run, plateau_ns=(S + round(begins_s * S), run.plateau_ns[1]))


def runs_of(alone_ms: float, beside_ms: float, *, rounds: int = 4, limit_ms: float = 4.0) -> SideRuns:
    thresholds = (LatencyThreshold(percentile="p95", limit_ms=limit_ms),)
    return SideRuns(
        request=JobRequest(name="fraud", sla=Sla(thresholds=thresholds, rate_per_s=RATE_PER_S)),
        workers=1,
        rate_per_s=RATE_PER_S,
        cpus=(0,),
        alone=[run_of(alone_ms, seed=nth) for nth in range(rounds)],
        beside=[run_of(beside_ms, seed=10 + nth) for nth in range(rounds)],
    )


def test_the_interference_is_what_calls_take_longer_beside_the_other() -> None:
    found = side_loaded(runs_of(1.0, 1.2), problems=())
    for changed in (found.latency, found.service):
        assert changed is not None
        assert changed.part == pytest.approx(0.2, abs=0.02)
        assert changed.low < 0.2 < changed.high
        assert changed.high - changed.low < 0.1
    assert (found.alone.verdict, found.beside.verdict, found.percentile) == ("PASS", "PASS", "p95")
    assert found.beside.summary.throughput_per_s == pytest.approx(RATE_PER_S, rel=0.01)


def test_a_model_that_breaks_its_limit_beside_the_other_fails_there_alone() -> None:
    found = side_loaded(runs_of(1.0, 4.5), problems=())
    assert (found.alone.verdict, found.beside.verdict) == ("PASS", "FAIL")
    assert found.beside.reason is not None
    assert "limit 4 ms" in found.beside.reason


def test_too_few_rounds_say_nothing() -> None:
    found = side_loaded(runs_of(1.0, 1.2, rounds=2), problems=["the hypervisor took the CPU"])
    assert (found.alone.verdict, found.beside.verdict) == ("INVALID", "INVALID")
    assert found.beside.reason == "the hypervisor took the CPU"
    assert (found.latency, found.service) == (None, None)


@given(ratios=st.lists(st.floats(0.01, 100), min_size=3, max_size=12))
def test_the_interval_over_rounds_holds_the_change(ratios: list[float]) -> None:
    found = change(ratios)
    assert found is not None
    assert found.low - 1e-9 <= found.part <= found.high + 1e-9
    assert found.low > -1
    assert min(ratios) - 1 - 1e-9 <= found.part <= max(ratios) - 1 + 1e-9


def test_a_change_that_a_round_does_not_know_is_not_told() -> None:
    assert change([1.0, None, 1.1, 1.2]) is None
    assert change([1.0, 1.1]) is None
    assert change([]) is None


def test_what_is_not_under_load_together_counts_for_neither() -> None:
    early, late = run_of(1.0, seed=1), run_of(1.0, seed=2, begins_s=0.4)
    found = together([early, late])
    assert not isinstance(found, str)
    for run in found:
        summary = summarize(run)
        assert (run.plateau_ns[1] - run.plateau_ns[0]) / S == pytest.approx(2.6)
        assert summary.samples == pytest.approx(2.6 * RATE_PER_S, abs=3)
        assert summary.offered_per_s == pytest.approx(RATE_PER_S, rel=0.01)
        assert summary.left_out_s == 0


def test_loads_that_hardly_meet_are_no_turn() -> None:
    found = together([run_of(1.0, seed=1), run_of(1.0, seed=2, begins_s=1.5)])
    assert found == "both were under load at the same time for 50 % of a turn"
    apart = together([run_of(1.0, seed=1), run_of(1.0, seed=2, begins_s=9.0)])
    assert apart == "both were under load at the same time for 0 % of a turn"


def test_a_run_that_its_backlog_ended_counts_as_it_is() -> None:
    ended = replace(run_of(1.0, seed=1, duration_s=0.5), stopped="backlog")
    whole = run_of(1.0, seed=2)
    assert together([ended, whole]) == (ended, whole)
