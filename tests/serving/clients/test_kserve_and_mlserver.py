"""The Python clients of KServe and MLServer, unmodified: health, and predictions in the Open Inference Protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.packages_apart import packages_apart

if TYPE_CHECKING:
    from tests.serving.clients.conftest import Served

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

_ASKING = Path(__file__).with_name("asking.py")


@pytest.fixture(scope="session")
def packages() -> Path:
    """KServe and MLServer with what their clients import. Both bring servers too, whose requirements contradict each
    other and those of servefit, and neither is declared to run with the newest Python."""
    return packages_apart(Path(__file__).with_name("packages.txt"))


def asked(client: str, served: Served, rows: np.ndarray, packages: Path, folder: Path) -> dict[str, Any]:
    np.save(folder / "rows.npy", rows)
    ended = subprocess.run(
        [sys.executable, _ASKING, client, served.address, served.name, folder / "rows.npy", folder],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(packages)},
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_kserve_is_told_of_health_and_predictions(fraud: Served, packages: Path, tmp_path: Path) -> None:
    found = asked("kserve", fraud, fraud.rows, packages, tmp_path)
    assert [found.pop(question) for question in ("live", "ready", "model", "other")] == [True, True, True, False]
    assert sorted(found) == ["binary", "json"]
    for identifier, output, predictions in found.values():
        assert (identifier, output) == ("seven", "predictions")
        assert np.array_equal(np.float32(predictions).ravel(), fraud.predictions)


@pytest.mark.thorough
def test_mlserver_is_told_predictions_of_joined_requests(fraud: Served, packages: Path, tmp_path: Path) -> None:
    """It reads no missing values."""
    complete = ~np.isnan(fraud.rows).any(axis=1)
    found = asked("mlserver", fraud, fraud.rows[complete], packages, tmp_path)
    assert sorted(found) == ["binary", "json"]
    for predictions in found.values():
        assert np.array_equal(np.float32(predictions).ravel(), fraud.predictions[complete])
