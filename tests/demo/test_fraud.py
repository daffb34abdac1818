"""The fraud model of the demo, and its payload."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost

from servefit.demo import FraudFacts, fraud_facts, fraud_model, fraud_payload, fraud_rows, fraud_rows_per_request
from servefit.demo.fraud import area_under_curve
from servefit.errors import StateError
from servefit.profiler.drivers.http.bodies import bodies

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.mark.thorough
def test_the_model_has_the_size_of_a_real_one(model_file: Path, facts: FraudFacts) -> None:
    assert 9e6 < model_file.stat().st_size < 11e6
    assert facts.size_bytes == model_file.stat().st_size


@pytest.mark.thorough
def test_the_model_is_good_on_rows_it_has_not_seen_and_not_perfect(facts: FraudFacts) -> None:
    assert 0.9 < facts.auc < 0.999
    assert (facts.rows, facts.frauds, facts.features) == (284_807, 492, 30)


@pytest.mark.thorough
def test_most_scores_are_tiny_as_fraud_scores_are(facts: FraudFacts) -> None:
    assert 1e-6 < facts.median_score < 1e-3


@pytest.mark.thorough
def test_xgboost_opens_the_model_and_scores_the_payload_with_it(
    model_file: Path, payload_file: Path, facts: FraudFacts
) -> None:
    booster = xgboost.Booster(model_file=model_file)
    assert (booster.num_boosted_rounds(), booster.num_features()) == (facts.trees, 30)
    rows = np.loadtxt(payload_file, delimiter=",", dtype=np.float32, skiprows=1)
    scores = booster.predict(xgboost.DMatrix(rows))
    # A sample of the held-out rows, so about their median.
    assert facts.median_score / 3 < np.median(scores) < facts.median_score * 3
    assert scores.max() > 0.1


@pytest.mark.thorough
def test_the_payload_is_a_csv_file_of_transactions_with_a_header(payload_file: Path, facts: FraudFacts) -> None:
    header, *lines = payload_file.read_text().splitlines()
    assert header.split(",")[0] == "V1"
    assert header.split(",")[-2:] == ["Time", "Amount"]
    rows = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    assert rows.shape == (facts.payload_rows, 30)
    assert facts.payload_frauds > 0


@pytest.mark.thorough
def test_payload_rows_are_transactions_to_the_last_bit(payload_file: Path) -> None:
    sent = np.loadtxt(payload_file, delimiter=",", dtype=np.float32, skiprows=1)
    drawn = {row.tobytes() for row in fraud_rows(2013)[0]}
    assert all(row.tobytes() in drawn for row in sent)


@pytest.mark.thorough
def test_a_request_has_as_many_transactions_as_its_size_takes(payload_file: Path) -> None:
    rows = np.loadtxt(payload_file, delimiter=",", dtype=np.float32, skiprows=1)
    for size_bytes in (10_000, 100_000):
        count = fraud_rows_per_request(size_bytes)
        sizes = [len(body) for _, body in bodies("open-inference", rows, rows_per_request=count)]
        assert np.mean(sizes) == pytest.approx(size_bytes, rel=0.03)
    assert fraud_rows_per_request(10) == 1


@pytest.mark.thorough
def test_the_files_are_made_once(state_home: Path, model_file: Path, messages: list[str]) -> None:
    assert messages == ["Training the fraud model; this happens once and takes about 20 s"]
    made = model_file.stat().st_mtime_ns
    heard: list[str] = []
    assert fraud_model(heard.append) == model_file
    assert fraud_payload(heard.append).parent == fraud_model().parent
    assert heard == []
    assert model_file.stat().st_mtime_ns == made
    assert [path.name for path in (state_home / "demo").iterdir()] == [model_file.parent.name]


@pytest.mark.thorough
def test_the_calling_process_never_loads_xgboost(state_home: Path, model_file: Path) -> None:
    script = "import sys; from servefit.demo import fraud_model; print(fraud_model()); print('xgboost' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(model_file), "False"]


def test_an_unwritable_state_folder_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    monkeypatch.setenv("SERVEFIT_HOME", str(in_the_way))
    heard: list[str] = []
    with pytest.raises(StateError):
        fraud_facts(heard.append)
    assert heard == []


@pytest.mark.parametrize(
    ("scores", "area"),
    [
        ([0.1, 0.2, 0.8, 0.9], 1.0),
        ([0.9, 0.8, 0.2, 0.1], 0.0),
        ([0.5, 0.5, 0.5, 0.5], 0.5),
        ([0.1, 0.8, 0.2, 0.9], 0.75),
    ],
)
def test_area_under_curve_counts_pairs_in_the_right_order(scores: list[float], area: float) -> None:
    assert area_under_curve(np.array([0, 0, 1, 1]), np.array(scores)) == area
