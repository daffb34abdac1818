"""What the search expected of tests before they were made, as the report shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servefit.search.jobs.calibration import expectations
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from tests.report.conftest import Reports


@pytest.mark.parametrize("kind", ["unmet", "one-profile", "large"])
def test_every_first_test_of_a_configuration_whose_calls_were_timed_has_an_expectation(
    reports: Reports, kind: str
) -> None:
    job = reports.job(kind)
    timed = {one.backend for one in job.steps if one.kind == "service_time" and one.status == "COMPLETED"}
    first = {one.configuration for one in job.steps if one.kind == "load_test" and isinstance(one.result, Trial)}
    found = expectations(job)
    assert {one.trial.configuration for one in found} == {one for one in first if one and one.backend in timed}
    assert found
    for one in found:
        assert 0 < one.low_per_s < one.expected_per_s < one.high_per_s
        assert one.measured_per_s == one.trial.capacity.throughput_per_s


def test_what_was_learnt_from_one_test_narrows_the_next(reports: Reports) -> None:
    found = expectations(reports.job("large"))
    spread = [one.high_per_s / one.low_per_s for one in found]
    assert min(spread[len(spread) // 2 :]) < spread[0]
