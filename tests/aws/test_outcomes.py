"""How a job behind the API ends, and the reason that it gives."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from tests.tiny_model import ROWS, tiny_model

from servefit.aws.jobs.files import JobFiles
from servefit.aws.jobs.plan import Measured, Plan
from servefit.aws.jobs.process import outcome_of
from servefit.search.optimizer.progress import Moment, SilentProgress

pytestmark = [pytest.mark.timed, pytest.mark.thorough]


JOB_S = 8


class SlowToCompile(SilentProgress):
    """Takes all of the time of the job when compiling begins."""

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text.startswith("compiling"):
            time.sleep(JOB_S)


def test_a_job_whose_time_was_over_before_a_test_says_so_and_how_much_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "home"))
    payload = tmp_path / "payload.csv"
    np.savetxt(payload, ROWS, delimiter=",", fmt="%g")
    plan = Plan(
        name="short",
        model=str(tiny_model(tmp_path / "model.ubj")),
        model_url="s3://models/model.ubj",
        payload=str(payload),
        payload_url="s3://models/payload.csv",
        measured=(Measured(instance_type="ml.c5.large", profile="local-1c"),),
        asked={"InputConfig": {"JobDurationInSeconds": JOB_S}},
        allow_noise=True,
    )
    files = JobFiles(tmp_path / "short")
    files.write_plan(plan)
    outcome = outcome_of(files, plan, SlowToCompile())
    assert outcome.status == "FAILED"
    assert (outcome.reason or "").startswith("nothing was measured: ")
    assert "; use --budget " in (outcome.reason or "")
