"""``session``: the SDK's own session, answered in the process that it is in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.aws.sdk.environments import NEWEST, sdk_python
from tests.tiny_model import ROWS, tiny_model

from servefit.aws.state.claim import FOLDER, holder_of

PROGRAM = Path(__file__).parents[1] / "aws" / "sdk" / "session_run.py"


@pytest.mark.thorough
@pytest.mark.timed
def test_the_sdk_runs_a_job_without_a_server_and_without_a_variable(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model.ubj")
    np.savetxt(tmp_path / "payload.csv", ROWS, delimiter=",", fmt="%g")
    (packages,) = sdk_python(NEWEST).parents[1].glob("lib/python*/site-packages")
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, PROGRAM, packages, model, tmp_path / "payload.csv"],
        env={**os.environ, "SERVEFIT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "the job is over: COMPLETED" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "role": "arn:aws:iam::123456789012:role/servefit",
        "url": "s3://sagemaker-us-east-1-123456789012/tiny/model.ubj",
        "status": "COMPLETED",
        "type": "ml.c5.large",
    }
    assert holder_of(home / FOLDER) is None
