"""The report's table of the capacities that the search expected of tests before it made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servefit.search.jobs.calibration import expectations
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from tests.report.conftest import Reports

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kind", ["unmet", "one-profile", pytest.param("large", marks=pytest.mark.thorough)])
def test_every_first_test_of_a_configuration_whose_calls_were_timed_has_an_expectation(
    reports: Reports, kind: str
) -> None:
    job = reports.job(kind)
    timed = {step.backend for step in job.steps if step.kind == "service_time" and step.status == "COMPLETED"}
    first = {step.configuration for step in job.steps if step.kind == "load_test" and isinstance(step.result, Trial)}
    found = expectations(job)
    assert {comparison.trial.configuration for comparison in found} == {
        configuration for configuration in first if configuration and configuration.backend in timed
    }
    assert found
    for comparison in found:
        assert 0 < comparison.low_per_s < comparison.expected_per_s < comparison.high_per_s
        assert comparison.measured_per_s == comparison.trial.capacity.throughput_per_s


@pytest.mark.thorough
def test_what_was_learnt_from_one_test_narrows_the_next(reports: Reports) -> None:
    found = expectations(reports.job("large"))
    spread = [comparison.high_per_s / comparison.low_per_s for comparison in found]
    assert min(spread[len(spread) // 2 :]) < spread[0]
