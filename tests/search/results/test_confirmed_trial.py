"""Several tests of one configuration that make one trial."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.report.simulated import SimulatedDriver
from tests.report.story import configuration, simulated_host

from servefit.profiler.evidence.problem import Problem
from servefit.profiler.evidence.run_verdict import evidence_of_runs
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.confirmed_trial import ConfirmationTest, confirmed_trial
from servefit.search.results.measure_trial import Durations, run_test

if TYPE_CHECKING:
    from servefit.profiler.record.types import Measurement

SHORT = Durations(capacity_s=0.3, at_rate_s=0.5, at_rate_max_s=0.5)


def request_of(limit: str = "p95=20ms", *, allow_noise: bool = False) -> JobRequest:
    return JobRequest(name="job", sla=Sla(thresholds=parse_sla(limit), rate_per_s=500.0), allow_noise=allow_noise)


def parts_of(request: JobRequest, *slower: float) -> list[ConfirmationTest]:
    """A test each, with calls that take so many times what is usual."""
    found = []
    for nth, times in enumerate(slower):
        recorded: list[Measurement] = []
        driver = SimulatedDriver(configuration=configuration("forest"), service_us=100.0 * times)
        trial = run_test(driver, request, simulated_host(), SHORT, seed=nth, keep=recorded.append)
        found.append(ConfirmationTest(trial=trial, measurement=recorded[0]))
    return found


def disturbed(part: ConfirmationTest) -> ConfirmationTest:
    problem = Problem(kind="competing load", reason="others used 40 % of the CPUs", remedy="stop them")
    return replace(part, trial=replace(part.trial, verdict="INVALID", problems=(problem,)))


def test_all_requests_count_and_the_interval_is_as_wide_as_runs_differ() -> None:
    request = request_of()
    parts = parts_of(request, 0.8, 0.9, 1.0, 1.1, 1.2)
    whole = confirmed_trial(parts, request)
    assert whole.at_rate is not None
    assert whole.at_rate.samples == sum(part.trial.judged.samples for part in parts)
    assert whole.verdict == "PASS"
    low, high = whole.at_rate.latency_ms_ci95["p95"]
    assert high / low > 1.3
    assert whole.capacity.throughput_per_s == pytest.approx(10_000, rel=0.1)


def test_everything_that_was_recorded_is_kept_as_one() -> None:
    request = request_of()
    kept: list[Measurement] = []

    def keep(measurement: Measurement) -> str:
        kept.append(measurement)
        return "0001.servefit"

    parts = parts_of(request, 1.0, 1.0, 1.0)
    whole = confirmed_trial(parts, request, keep=keep)
    assert whole.kept_in == "0001.servefit"
    assert len(kept[0].runs) == 6
    assert whole.measurement.runs == ()


def test_each_test_has_arrivals_of_its_own() -> None:
    loops = [part.judged(500.0) for part in parts_of(request_of(), 1.0, 1.0, 1.0)]
    drawn = {None if loop is None else loop.samples.scheduled_ns().tobytes() for loop in loops}
    assert len(drawn) == 3


def test_a_disturbed_test_is_left_out_and_too_many_spoil_the_trial() -> None:
    request = request_of()
    parts = parts_of(request, 1.0, 1.0, 1.0, 9.0)
    whole = confirmed_trial([*parts[:3], disturbed(parts[3])], request)
    assert whole.verdict == "PASS"
    assert whole.judged.samples == sum(part.trial.judged.samples for part in parts[:3])
    spoilt = confirmed_trial([parts[0], parts[1], disturbed(parts[2]), disturbed(parts[3])], request)
    assert (spoilt.verdict, spoilt.reason) == ("INVALID", "others used 40 % of the CPUs")


@pytest.mark.parametrize(("before", "verdict"), [([], "FAIL"), ([1.0], "UNDECIDED")])
def test_a_test_that_fails_when_nothing_gets_in_the_way_counts_though_others_were_disturbed(
    before: list[float], verdict: str
) -> None:
    """One that fails beside one that passes leaves open which of them is usual."""
    request = request_of("p95=500us")
    *others, spoilt, failing = parts_of(request, *before, 1.0, 9.0)
    assert failing.trial.verdict == "FAIL"
    assert confirmed_trial([*others, disturbed(spoilt), failing], request).verdict == verdict


def test_a_first_test_that_answered_nothing_is_counted_too() -> None:
    request = request_of()
    first, *others = parts_of(request, 1.0, 1.0, 1.0)
    starved = replace(first.trial, capacity=replace(first.trial.capacity, throughput_per_s=0.0))
    whole = confirmed_trial([replace(first, trial=starved), *others], request)
    assert whole.at_rate is not None
    assert whole.at_rate.samples == sum(part.trial.judged.samples for part in (first, *others))


def test_one_test_alone_is_the_trial() -> None:
    request = request_of()
    (part,) = parts_of(request, 1.0)
    assert confirmed_trial([part], request) == part.trial


def test_what_one_run_in_three_breaks_is_no_pass() -> None:
    request = request_of("p95=2ms")
    whole = confirmed_trial(parts_of(request, 1.0, 1.0, 15.0), request)
    assert whole.verdict in {"FAIL", "UNDECIDED"}


@pytest.mark.thorough
@pytest.mark.integration
def test_each_number_of_instances_that_may_be_tried_is_a_chance_to_pass() -> None:
    """9,000 of the 10,000 requests a second that one answers are shared by 2, 3 or 5."""

    def verdict(limit_us: int, instances: int | None) -> str:
        driver = SimulatedDriver(configuration=configuration("forest"), service_us=100.0)
        thresholds = parse_sla(f"p95={limit_us}us")
        request = JobRequest(name="job", sla=Sla(thresholds=thresholds, rate_per_s=9000.0))
        trial = run_test(driver, request, simulated_host(), SHORT, seed=1, instances=instances)
        return trial.verdict if trial.instance_count == 2 else "more instances"

    limits_us = range(150, 700, 20)
    told = [limit_us for limit_us in limits_us if verdict(limit_us, 2) == "PASS"]
    chosen = [limit_us for limit_us in limits_us if verdict(limit_us, None) == "PASS"]
    assert set(chosen) < set(told)
    assert max(limits_us) in chosen


@pytest.mark.thorough
def test_runs_whose_number_of_instances_was_chosen_have_to_be_surer_together_too() -> None:
    def request(limit: str) -> JobRequest:
        return JobRequest(name="job", sla=Sla(thresholds=parse_sla(f"p95={limit}"), rate_per_s=9000.0))

    parts = parts_of(request("20ms"), 1.0, 1.0, 1.0)
    assert {part.trial.instance_count for part in parts} == {2}
    loops = [loop for part in parts if (loop := part.judged(9000.0)) is not None]
    limits = [f"{us}us" for us in range(150, 700, 5)]
    chosen = [limit for limit in limits if confirmed_trial(parts, request(limit)).verdict == "PASS"]
    told = [
        limit for limit in limits if evidence_of_runs(loops, parse_sla(f"p95={limit}"), workers=1)[0].verdict == "PASS"
    ]
    assert set(chosen) < set(told)
    assert "695us" in chosen
