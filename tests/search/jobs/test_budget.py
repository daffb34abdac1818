"""A job keeps to its time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.search.jobs.conftest import Slow, slow_job

from servefit.profiler.record.traffic import ClosedLoop

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.optimizer.progress import Moment
    from servefit.search.results.recommendation import FailedTrial, Trial

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("state_of_module")]


class SlowToEnd(Slow):
    """Has the time until ``until_s`` of the job pass when a test has ended."""

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        self.stage("tested", at)


@pytest.mark.thorough
def test_a_confirmation_that_would_outlast_the_budget_is_not_begun(model: Path) -> None:
    job = slow_job(
        model,
        SlowToEnd("tested", until_s=59.0),
        backends=("xgboost",),
        phases=ClosedLoop.constant(users=1, duration_s=1),
        budget_s=60.0,
    )
    assert job.status == "COMPLETED"
    assert job.tests == 1
    assert any("the winner was not confirmed" in warning for warning in job.warnings)
