"""Samples that are judged again, as those of an agent are by whoever asked for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.report.simulated import SimulatedDriver
from tests.report.story import configuration, simulated_host

from servefit.profiler.evidence.run_verdict import evidence_of_runs
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.confirmed_trial import ConfirmationTest, confirmed_trial
from servefit.search.results.judged_again import judged_again
from servefit.search.results.measure_trial import Durations, run_test

if TYPE_CHECKING:
    from servefit.profiler.record.types import Measurement
    from servefit.search.results.recommendation import Trial

SHORT = Durations(capacity_s=0.1, at_rate_s=0.2, at_rate_max_s=0.2)


def request_of(limit: str) -> JobRequest:
    """9,000 of the 10,000 requests a second that one instance answers are shared by 2, 3 or 5."""
    return JobRequest(name="job", sla=Sla(thresholds=parse_sla(f"p95={limit}"), rate_per_s=9000.0), deploy="library")


def measured(
    request: JobRequest, *, instances: int | None = None, chances: int = 1, seed: int = 1
) -> tuple[Trial, Measurement]:
    recorded: list[Measurement] = []
    trial = run_test(
        SimulatedDriver(configuration=configuration("forest"), service_us=100.0),
        request,
        simulated_host(),
        SHORT,
        seed=seed,
        instances=instances,
        nth_round=2,
        chances=chances,
        keep=recorded.append,
    )
    return trial, recorded[0]


@pytest.mark.parametrize("limit", ["250us", "300us", "600us"])
@pytest.mark.parametrize("runs", [1, 3])
def test_samples_that_are_judged_again_make_the_same_trial(limit: str, runs: int) -> None:
    request = request_of(limit)
    recorded: list[Measurement] = []
    parts: list[ConfirmationTest] = []
    for nth in range(runs):
        trial, measurement = measured(request, instances=parts[0].trial.instance_count if parts else None, seed=nth)
        parts.append(ConfirmationTest(trial=trial, measurement=measurement))
    whole = confirmed_trial(parts, request, keep=recorded.append)
    again = judged_again(recorded[0], request, whole.instance_count, nth_round=2)
    facts = [
        (trial.verdict, trial.reason, trial.violation, trial.instance_count, trial.round) for trial in (again, whole)
    ]
    assert facts[0] == facts[1]
    assert again.at_rate == whole.at_rate is not None


def test_each_number_of_instances_that_may_have_been_tried_is_a_chance_to_pass_here_too() -> None:
    request = request_of("600us")
    _, measurement = measured(request)
    (evidence,) = evidence_of_runs(measurement.runs[1:], request.sla.thresholds, workers=1)
    # So many chances leave twice what these samples take, but not for three numbers of instances.
    chances = int(0.025 / evidence.p_pass)
    for instances, verdict in ((2, "PASS"), (None, "UNDECIDED")):
        trial, measurement = measured(request, instances=instances, chances=chances)
        again = judged_again(measurement, request, 2, instances=instances, chances=chances)
        assert (trial.instance_count, trial.verdict, again.verdict) == (2, verdict, verdict)
