"""The reason that a job behind the API gives where what it measured is no recommendation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from servefit.aws.jobs import process
from servefit.aws.jobs.files import JobFiles
from servefit.aws.jobs.plan import Measured, Plan
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.sla import Sla


@pytest.mark.parametrize(
    ("verdict", "reason", "said"),
    [
        (
            "UNDECIDED",
            "p95 is 8 ms, limit 10 ms: 7 of 300 requests took longer than 10 ms; 20 s of such traffic would decide:"
            " --budget 160s",
            "whether p95 <= 10 ms is met is undecided: p95 is 8 ms, limit 10 ms: 7 of 300 requests took longer than"
            " 10 ms; 20 s of such traffic would decide: raise JobDurationInSeconds",
        ),
        (
            "FAIL",
            "p95 is 20 ms, limit 10 ms",
            "nothing that was measured is known to meet p95 <= 10 ms: p95 is 20 ms, limit 10 ms",
        ),
        ("INVALID", "a neighbour", "the machine got in the way of the measurements: a neighbour"),
    ],
)
def test_what_is_no_recommendation_has_a_reason_by_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str, reason: str, said: str
) -> None:
    trial = SimpleNamespace(verdict=verdict, reason=reason)
    sla = Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=10.0),))
    job = SimpleNamespace(
        status="COMPLETED", recommendations=[SimpleNamespace(trial=trial)], request=SimpleNamespace(sla=sla)
    )
    monkeypatch.setattr(process, "carry_out", lambda *_: job)
    plan = Plan(
        name="short",
        model="model.ubj",
        model_url="s3://models/model.ubj",
        payload="payload.csv",
        payload_url="s3://models/payload.csv",
        measured=(Measured(instance_type="ml.c5.large", profile="local-1c"),),
        asked={},
    )
    outcome = process.outcome_of(JobFiles(tmp_path), plan, SilentProgress())
    assert (outcome.status, outcome.reason) == ("FAILED", said)
