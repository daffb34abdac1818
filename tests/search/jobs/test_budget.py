"""A job keeps to its time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.tiny_model import ROWS, tiny_booster

from servefit.backends.compilation import compile_model
from servefit.backends.payload import Payload
from servefit.sagemaker.sdk_types import Phase
from servefit.sagemaker.sizing import right_size

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timed


def test_a_confirmation_that_would_outlast_the_budget_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    booster = tiny_booster()
    # What was compiled and checked before takes no time.
    compile_model(booster, "xgboost", payload=Payload(rows=ROWS, source="rows"))
    job = right_size(
        booster,
        sample_payload=ROWS,
        supported_instance_types=["local-1c"],
        backends=["xgboost"],
        deploy="library",
        phases=[Phase(duration_in_seconds=4, initial_number_of_users=1, spawn_rate=0)],
        job_duration_in_seconds=10,
    )
    assert job.status == "COMPLETED"
    assert job.tests == 1
    assert any("the winner was not confirmed" in warning for warning in job.warnings)
