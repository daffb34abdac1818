"""The best so far, as a search reports it while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servefit.report.moments import best_so_far
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla

if TYPE_CHECKING:
    from tests.search.conftest import InstallObjective
    from tests.search.optimizer.search.conftest import MakeSearch, MakeTable

pytestmark = pytest.mark.usefixtures("unforeseen")

SHARE = """
from servefit.search.results.objectives.contract import Objective

class Offered(Objective):
    name, unit, aim, direction = "rate-share", "of the rate", "the largest share", "max"
    def of_trial(self, trial, context): return trial.capacity.throughput_per_s / context.rate_per_s
    def predicted(self, prediction, context): return prediction.capacity_per_s / context.rate_per_s
    def figure_text(self, best, context):
        return f"{context.price.per_hour:g} an hour at {context.rate_per_s:g}/s, weight {context.cost_weight:g}"
"""


def test_the_best_so_far_is_told_for_what_the_job_asks(
    table: MakeTable, search: MakeSearch, install_objective: InstallObjective
) -> None:
    install_objective("shares", "rate-share", SHARE)
    asked = JobRequest(name="job", goal="rate-share", sla=Sla(rate_per_s=200.0), cost_weight=0.25, max_tests=3)
    found = search(table(asked))
    assert found.moment().best is None
    assert best_so_far(found.moment()) == ""
    found.carry_out()
    best = found.moment().best
    assert best is not None
    assert f": {best.profile.vcpus} an hour at 200/s, weight 0.25" in best_so_far(found.moment())


@pytest.mark.parametrize(
    ("goal", "said"), [("cost", " vCPU-s a million"), ("latency", "p95 "), ("throughput", " a minute")]
)
def test_the_best_so_far_is_told_by_what_the_job_is_about(
    table: MakeTable, search: MakeSearch, goal: str, said: str
) -> None:
    found = search(table(JobRequest(name="job", goal=goal, max_tests=2)))
    found.carry_out()
    assert said in best_so_far(found.moment())
