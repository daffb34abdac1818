"""Figures of several runs of one thing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.recorded_runs import S, recorded_run

from benchmarks import queues
from servefit.profiler.evidence.several_runs import summarize_runs
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.traffic import OpenLoop

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run

MS = 1_000_000


def run_of(response_ms: np.ndarray, *, rate_per_s: float = 500.0) -> Run:
    """A run of evenly spaced requests that took so long."""
    due = S + (np.arange(len(response_ms)) * S / rate_per_s).astype(np.int64)
    traffic = OpenLoop(rate_per_s=rate_per_s, duration_s=len(due) / rate_per_s)
    until_ns = S + round(len(due) / rate_per_s * S)
    return recorded_run(traffic, due, due + (response_ms * MS).astype(np.int64), until_ns=until_ns)


def drawn(level: float, *, seed: int, requests: int = 500) -> Run:
    return run_of(level * np.random.default_rng(seed).exponential(1.0, requests))


def test_percentiles_are_of_all_requests_and_intervals_over_runs() -> None:
    runs = [drawn(level, seed=seed) for seed, level in enumerate((0.8, 0.9, 1.0, 1.1, 1.2))]
    found = summarize_runs(runs)
    together = summarize(run_of(np.concatenate([run.samples.response_ns() / MS for run in runs])))
    assert found.samples == 2500
    assert found.latency_ms["p95"] == pytest.approx(together.latency_ms["p95"], rel=1e-3)
    assert found.throughput_per_s == pytest.approx(500, rel=0.02)
    low, high = found.latency_ms_ci95["p95"]
    of_runs = [summarize(run).latency_ms["p95"] for run in runs]
    assert low < min(filter(None, of_runs)) * 1.15
    assert high > max(filter(None, of_runs)) / 1.15


def test_runs_that_differ_make_wide_intervals_where_each_by_itself_is_sure() -> None:
    """What a minute of the machine doubles, no single run shows."""
    levels = (1.0, 1.9, 1.0, 1.9, 1.0)
    evenly = (np.arange(500) * 0.6180339887) % 1
    runs = [run_of(level + 0.01 * evenly) for level in levels]
    low, high = summarize(runs[0]).latency_ms_ci95["p50"]
    assert high / low < 1.02
    low, high = summarize_runs(runs).latency_ms_ci95["p50"]
    assert high / low > 1.9


def test_what_runs_happen_to_agree_on_has_an_upper_end_no_lower_than_their_requests_together_have() -> None:
    runs = [
        run_of(np.random.default_rng(0).permutation(drawn(1.0, seed=0).samples.response_ns() / MS)) for _ in range(5)
    ]
    together = summarize(run_of(np.concatenate([run.samples.response_ns() / MS for run in runs])))
    found = summarize_runs(runs)
    assert found.latency_ms_ci95["p95"][1] == pytest.approx(together.latency_ms_ci95["p95"][1], rel=0.05)
    assert found.latency_ms["p95"] is not None
    assert found.latency_ms_ci95["p95"][1] > 1.02 * found.latency_ms["p95"]


def test_runs_that_differ_and_of_which_one_is_unsure_have_no_interval() -> None:
    levels = (1.0, 1.9, 1.0, 1.9, 1.0)
    evenly = (np.arange(500) * 0.6180339887) % 1
    runs = [run_of(level + 0.01 * evenly) for level in levels]
    runs[3] = run_of(np.concatenate([1.9 + 0.01 * evenly[:250], 2.5 + 0.01 * evenly[:250]]))
    assert summarize_runs(runs).latency_ms_ci95 == {}


def test_no_interval_reaches_beyond_what_was_seen_where_pauses_make_runs_differ() -> None:
    def paused(seed: int, pauses: int) -> Run:
        times = np.random.default_rng(seed).exponential(1.0, 2000)
        for begins in np.linspace(0, 1900, pauses, dtype=int):
            times[begins : begins + 40] += np.linspace(200, 0, 40)
        return run_of(times)

    runs = [paused(seed, pauses) for seed, pauses in enumerate((1, 3, 2, 4, 3))]
    low, high = summarize_runs(runs).latency_ms_ci95["p95"]
    assert low < 4
    assert 60 < high <= 210


def test_no_percentile_that_is_not_known_has_an_interval() -> None:
    evenly = (np.arange(85) * 0.6180339887) % 1
    alone, several = summarize(run_of(1 + evenly)), summarize_runs([run_of(1 + evenly[:28])] * 3)
    for found in (alone, several):
        assert found.latency_ms["p95"] is None
        assert "p50" in found.latency_ms_ci95
        assert found.latency_ms_ci95.keys() <= {name for name, value in found.latency_ms.items() if value is not None}


def test_a_run_alone_is_what_it_is_and_two_have_no_intervals() -> None:
    one, other = drawn(1.0, seed=1), drawn(1.0, seed=2)
    assert summarize_runs([one]) == summarize(one)
    assert summarize_runs([one, other]).latency_ms_ci95 == {}


def test_a_percentile_has_an_interval_if_every_run_has_the_requests_for_it() -> None:
    found = summarize_runs([drawn(1.0, seed=seed, requests=300) for seed in range(5)])
    assert found.latency_ms["p99"] is not None
    assert set(found.latency_ms_ci95) == {"p50", "p90", "p95"}


def test_runs_of_a_queue_that_are_worth_few_requests_have_no_interval_of_the_rarer_percentiles() -> None:
    def busy(seed: int) -> Run:
        random = np.random.default_rng(seed)
        arrivals = np.cumsum(random.exponential(1.0, 1000))
        return run_of(queues.simulate(arrivals, random.exponential(0.9, 1000)))

    found = summarize_runs([busy(seed) for seed in range(5)])
    assert found.latency_ms["p95"] is not None
    assert "p95" not in found.latency_ms_ci95
    assert "p50" in found.latency_ms_ci95


def test_requests_without_an_answer_count_as_the_slowest() -> None:
    runs = [drawn(1.0, seed=seed) for seed in range(3)]
    ended = runs[2].samples.ended_ns().copy()
    ended[:250] *= -1
    runs[2] = replace(runs[2], samples=replace(runs[2].samples, ended=ended.tobytes()))
    found = summarize_runs(runs)
    assert found.failed == 250
    assert found.latency_ms["p90"] is None
    assert "p90" not in found.latency_ms_ci95


def test_19_of_20_intervals_hold_the_truth_where_runs_differ_as_much_as_requests_do() -> None:
    """The level of each run is drawn anew, by 10 %."""
    random, held, truth = np.random.default_rng(3), 0, 0.0
    long = np.exp(random.normal(0, 0.1, 400_000)) * random.exponential(1.0, 400_000)
    truth = float(np.percentile(long, 95))
    for _ in range(200):
        runs = [run_of(np.exp(random.normal(0, 0.1)) * random.exponential(1.0, 400)) for _ in range(5)]
        low, high = summarize_runs(runs).latency_ms_ci95["p95"]
        held += low <= truth <= high
    assert 0.9 <= held / 200 <= 0.99
