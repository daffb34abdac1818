"""Two models under load side by side on a real agent, and the plan that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.search.fleet.conftest import eventually, in_thread, rows

from servefit.annexes.fleet.sharing import plan_sharing, print_sharing, sharing_document
from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.record.types import Configuration
from servefit.search.fleet.plan.many_models import ManyModelsPlan, ModelsNotCarried
from servefit.search.fleet.sharing import fitting
from servefit.search.fleet.sharing.planning import SharedPlan
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.sla import Sla
from servefit.search.results.recommendation import Confirmation
from servefit.search.storage.header import JobState, PlanRequest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.conftest import MakeTrial
    from tests.search.fleet.conftest import MakeJob, StartAgent

pytestmark = [pytest.mark.timed, pytest.mark.thorough]

_RATE_PER_S = 200.0

_TURN_S, _ROUNDS = 1.0, 3
"""Shorter and fewer than usual: figures are not what is tested."""

Share = Callable[..., SharedPlan]


@pytest.fixture
def share(open_job: MakeJob, trial: MakeTrial, monkeypatch: pytest.MonkeyPatch) -> Share:
    """Two jobs that are over, each of a model of one vCPU on the host "one", planned together."""
    monkeypatch.setattr(fitting, "MIN_TURN_S", _TURN_S)
    monkeypatch.setattr(fitting, "ROUNDS", _ROUNDS)
    jobs: dict[str, Any] = {}
    limit = LatencyThreshold(percentile="p95", limit_ms=900)
    for model in ("fraud", "churn"):
        job = open_job("one", sla=Sla(rate_per_s=_RATE_PER_S, thresholds=(limit,)), allow_noise=True)
        name = job.header.request.name
        job.store.job(name).set_state(JobState(status="COMPLETED"))
        found = SimpleNamespace(
            profile=SimpleNamespace(name="local-1c", memory_bytes=2**30),
            trial=replace(trial(Configuration(backend="xgboost", vcpus=1)), asked_per_s=_RATE_PER_S),
            confirmation=Confirmation(outcome="confirmed"),
        )
        measured = SimpleNamespace(recommendations=(found,), best=found, steps=())
        classes = (SimpleNamespace(host_class="one", hosts=("one",), job=measured),)
        jobs[model] = SimpleNamespace(header=job.header, classes=classes, name=name)

    def plan(*, again: bool = False) -> SharedPlan:
        progress = SilentProgress()
        return plan_sharing(jobs, PlanRequest(), store=job.store, storage=job.url, again=again, progress=progress)

    return plan


def test_two_models_that_need_two_hosts_share_one_where_both_hold_their_slas(
    start_agent: StartAgent,
    share: Share,
    fleet_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agent = start_agent("one")
    found = share()
    assert isinstance(found.plan, ManyModelsPlan)
    assert [(each.hosts, each.models) for each in found.plan.shared] == [(1, ("fraud", "churn"))]
    (pair,) = found.measured
    assert pair.found is not None
    assert (pair.host, pair.before, pair.holds, pair.found.rounds) == ("one", False, True, _ROUNDS)
    assert not set(pair.found.sides[0].cpus) & set(pair.found.sides[1].cpus)
    for side in pair.found.sides:
        assert side.beside.verdict == "PASS"
        assert side.beside.summary.throughput_per_s == pytest.approx(_RATE_PER_S, rel=0.3)
        assert side.latency is not None
        assert side.latency.low <= side.latency.part <= side.latency.high
    # The jobs are over, and what the agent needed of them is gone again.
    assert rows(fleet_url, "SELECT 1 FROM servefit_blobs") == []

    known = share()
    assert known.plan == found.plan
    assert known.measured == (replace(pair, before=True),)
    assert rows(fleet_url, _PAIRS) == [("ANSWERED",)]
    print_sharing(known)
    told = capsys.readouterr().out
    assert "1 x one: serves fraud (up to 200/s) and churn (up to 200/s) at the same time." in told
    assert "interference %" in told
    (document,) = sharing_document(known)["pairs"]
    assert (document["holds"], document["found"]["sides"][1]["beside"]["verdict"]) == (True, "PASS")

    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("SERVEFIT_HOME", str(tmp_path / "elsewhere"))
        with pytest.raises(SpecError, match="the folder of the job is not on this host"):
            share(again=True)
    assert sorted(rows(fleet_url, _PAIRS)) == [("ANSWERED",), ("withdrawn",)]

    assert agent.end() == 0
    gone = share(again=True)
    assert isinstance(gone.plan, ModelsNotCarried)
    assert [pair.reason for pair in gone.measured] == ["no agent of its hosts takes orders"]


_PAIRS = "SELECT state FROM servefit_orders WHERE token LIKE 'pair-%'"


def test_a_pair_whose_agent_dies_is_told_and_not_planned(start_agent: StartAgent, share: Share, fleet_url: str) -> None:
    agent = start_agent("one")
    with in_thread(share) as planned:
        eventually(lambda: rows(fleet_url, f"{_PAIRS} AND began_at IS NOT NULL") != [], within_s=30)
        agent.process.kill()
        agent.process.wait()
        start_agent("one")
    (found,) = planned
    assert isinstance(found, SharedPlan), found
    assert isinstance(found.plan, ModelsNotCarried)
    assert [(pair.holds, pair.reason) for pair in found.measured] == [(False, "one: its agent ended")]
