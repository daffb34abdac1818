"""What a job has measured, and for how long."""

from __future__ import annotations

import pytest

from servefit.profiler.evidence.summary import samples_needed
from servefit.search.jobs.tasks import survey_limit_s, turn
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.measure_trial import ROUND


def asked(rate_per_s: float | None, goal: str = "cost") -> JobRequest:
    return JobRequest(name="job", goal=goal, sla=Sla(thresholds=parse_sla("p95=20ms"), rate_per_s=rate_per_s))


@pytest.mark.parametrize(("rate_per_s", "instances"), [(50.0, 1), (90.0, 1), (500.0, 8), (500.0, 1), (5000.0, 1)])
def test_a_turn_has_the_requests_of_a_p95(rate_per_s: float, instances: int) -> None:
    task = turn(asked(rate_per_s), 0, instances, kept_s=0.0)
    assert task.durations.at_rate_s >= ROUND.at_rate_s
    assert task.durations.at_rate_s * rate_per_s / instances > samples_needed(95)


def test_a_turn_is_at_the_rate_with_the_instances_of_the_test_before_and_without_limits() -> None:
    task = turn(asked(500.0), 3, 4, kept_s=1.0)
    assert (task.request.sla.rate_per_s, task.request.sla.thresholds) == (500.0, ())
    assert (task.instances, task.nth_round, task.kept_s) == (4, 3, 1.0)


@pytest.mark.parametrize("request_", [asked(None), asked(500.0, "throughput")])
def test_a_turn_has_no_rate_where_none_decides(request_: JobRequest) -> None:
    task = turn(request_, 0, 4, kept_s=0.0)
    assert (task.request.sla.rate_per_s, task.instances) == (None, None)


@pytest.mark.parametrize(
    ("share_s", "before_test_s", "limit_s"), [(21.0, 9.0, 9.0), (21.0, 2.0, 7.0), (21.0, 40.0, 21.0), (5.0, 9.0, 5.0)]
)
def test_measuring_what_an_endpoint_costs_leaves_time_for_a_test(
    share_s: float, before_test_s: float, limit_s: float
) -> None:
    assert survey_limit_s(share_s, before_test_s=before_test_s, usual_s=7.0) == limit_s
