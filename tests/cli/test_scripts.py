"""Models with a script, on the command line; among them the archives of SageMaker Inference Recommender's examples."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pytest
from tests.cli.conftest import COMMAND
from tests.scripts import MEANS, SKLEARN, WORDS, XGBOOST, archive, photos, scripted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Finished, Servefit, Sources

pytestmark = pytest.mark.integration

QUICK = ("--duration", "0.3s", "--rate", "100/s", "--allow-noise", "--format", "json")
NOT_COMPARED = "what code/inference.py answers was not compared with anything"


def said(ended: Finished) -> str:
    return " ".join(ended.stderr.split())


@contextmanager
def an_endpoint(state: Path, model: Path) -> Iterator[int]:
    """Have the script of ``model`` served, and give the port."""
    command = [*COMMAND, "serve", "--model", str(model), "--trust-code", "--port", "0", "--quiet"]
    environment = {**os.environ, "SERVEFIT_HOME": str(state)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
        try:
            yield int(url.rpartition(":")[2])
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


@pytest.fixture
def pytorch(tmp_path: Path) -> Path:
    """As the example of PyTorch: weights, and a script that reads JPEG files."""
    return scripted(tmp_path / "pytorch.tar.gz", MEANS, offset__txt="100", model__pth=b"weights")


@pytest.mark.thorough
def test_photos_are_sent_to_a_script_and_their_sizes_printed(servefit: Servefit, pytorch: Path, tmp_path: Path) -> None:
    ended = servefit("profile", pytorch, "--payload", photos(tmp_path / "photos"), "--trust-code", *QUICK)
    assert ended.status == 0, ended.stderr
    document = ended.document
    assert document["configuration"]["backend"] == "script"
    assert document["summary"]["samples"] > 0
    assert document["sizes"] == [{"name": "bytes", "least": 14, "median": 214, "most": 514}]
    assert document["script_function_s"].keys() == {"input_fn", "predict_fn", "output_fn"}
    assert all(seconds > 0 for seconds in document["script_function_s"].values())
    assert NOT_COMPARED in said(ended)


@pytest.mark.thorough
def test_what_the_script_does_around_its_prediction_is_said_and_what_it_prints_is_not_among_the_results(
    servefit: Servefit, tmp_path: Path
) -> None:
    reads = "    return np.frombuffer"
    slow = "print('imported')\n" + MEANS.replace(reads, f"    import time; time.sleep(0.03); print('called')\n{reads}")
    model = scripted(tmp_path / "slow.tar.gz", slow, offset__txt="0")
    sent = ("--payload", photos(tmp_path / "photos"), "--trust-code", "--duration", "0.4s", "--rate", "10/s")
    ended = servefit("profile", model, *sent, "--allow-noise", "--format", "json")
    assert ended.status == 0, ended.stderr
    assert ended.document["script_function_s"]["input_fn"] > 0.03
    again = servefit("profile", model, *sent, "--allow-noise")  # from the cache
    assert again.status == 0, again.stderr
    assert re.search(
        r"script, when it was tried +input_fn and output_fn ([3-9]\d|\d{3}) ms of \d+ ms a request", again.stdout
    )


@pytest.mark.thorough
def test_the_endpoint_of_a_script_is_loaded_over_http(servefit: Servefit, pytorch: Path, tmp_path: Path) -> None:
    over_http = ("--driver", "http", "--profile", "local-1c")
    sent = ("--payload", photos(tmp_path / "photos"), "--trust-code")
    ended = servefit("profile", pytorch, *sent, *over_http, *QUICK)
    assert ended.status == 0, ended.stderr
    assert ended.document["summary"]["failed"] == 0


def test_a_job_recommends_how_to_serve_a_script_and_reports_it(
    servefit: Servefit, pytorch: Path, tmp_path: Path
) -> None:
    options = ("--max-tests", "1", "--profile", "local-1c", "--no-http", "--allow-noise", "--budget", "60s")
    sent = ("--payload", photos(tmp_path / "photos"), "--accept", "application/json", "--trust-code")
    ended = servefit("recommend", pytorch, *sent, "--name", "photos", *options, "--format", "json")
    assert ended.status == 0, ended.stderr
    best = ended.document["recommendations"][0]
    assert "script" in json.dumps(best)
    assert [each["backend"] for each in ended.document["compilation"]] == ["script"]
    page = tmp_path / "report.html"
    assert servefit("report", "photos", "-o", page).status == 0
    text = page.read_text()
    assert NOT_COMPARED in text
    assert "What the script answers was compared with nothing" in text
    assert "servefit recommend --config job.yaml --trust-code" in text
    assert "accept: application/json" in text
    assert "own library" not in text
    bundle = tmp_path / "bundle"
    assert servefit("export", "photos", "-o", bundle).status == 0
    assert (bundle / "artifact" / "model" / "code" / "inference.py").is_file()
    readme = " ".join((bundle / "README.md").read_text().split())
    assert "Requests go to the script as they are" in readme
    assert "own library" not in readme


@pytest.mark.thorough
def test_a_script_is_served_without_a_payload(state: Path, pytorch: Path) -> None:
    with (
        an_endpoint(state, pytorch) as port,
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection,
    ):
        connection.request("POST", "/invocations", b"\1\2\3", {"content-type": "image/jpeg"})
        assert json.loads(connection.getresponse().read()) == {"mean": 102.0}


@pytest.mark.thorough
def test_text_is_a_request_a_line(servefit: Servefit, tmp_path: Path) -> None:
    """As the example of Hugging Face: three lines of text in a file called CSV."""
    model = scripted(tmp_path / "huggingface.tar.gz", WORDS, model__safetensors=b"weights")
    (tmp_path / "payload.csv").write_text("a sentence\nanother one\nthe last of them\n")
    sent = ("--payload", tmp_path / "payload.csv", "--each-line", "--content-type", "text/plain")
    ended = servefit("profile", model, *sent, "--trust-code", *QUICK)
    assert ended.status == 0, ended.stderr
    assert ended.document["sizes"] == [{"name": "bytes", "least": 10, "median": 11, "most": 16}]


@pytest.mark.thorough
def test_a_joblib_with_a_script_is_measured_with_or_without_it(
    servefit: Servefit, sources: Sources, tmp_path: Path
) -> None:
    """As the example of scikit-learn."""
    from sklearn.naive_bayes import GaussianNB

    rows = np.loadtxt(sources.payload, delimiter=",")
    joblib.dump(GaussianNB().fit(rows, rows[:, 0] > 14), tmp_path / "model.joblib")
    joblib_bytes = (tmp_path / "model.joblib").read_bytes()
    files: dict[str, str | bytes] = {"model.joblib": joblib_bytes, "code/inference.py": SKLEARN}
    model = archive(tmp_path / "sklearn.tar.gz", files)
    with_script = servefit("profile", model, "--payload", sources.payload, "--trust-code", *QUICK)
    assert with_script.status == 0, with_script.stderr
    assert with_script.document["configuration"]["backend"] == "script"
    assert "model.joblib beside the script is a model that servefit serves by itself" in said(with_script)
    assert "here it was not: model.joblib is a pickle" in said(with_script)
    assert "is a pickle" in with_script.document["script_cost"]["reason"]
    without = servefit("profile", model, "--payload", sources.payload, "--trust-pickle", *QUICK)
    assert without.status == 0, without.stderr
    assert without.document["configuration"]["backend"] == "sklearn"
    assert "code/inference.py beside the model is not run" in said(without)


@pytest.mark.thorough
def test_an_archive_of_xgboost_needs_no_script(servefit: Servefit, sources: Sources, tmp_path: Path) -> None:
    model = archive(tmp_path / "xgboost.tar.gz", {"xgboost-model": sources.xgboost.read_bytes()})
    ended = servefit("profile", model, "--payload", sources.payload, *QUICK)
    assert ended.status == 0, ended.stderr
    assert "inference.py" not in said(ended)


@pytest.fixture
def xgboost_with_script(sources: Sources, tmp_path: Path) -> Path:
    files: dict[str, str | bytes] = {"xgboost-model": sources.xgboost.read_bytes(), "code/inference.py": XGBOOST}
    return archive(tmp_path / "xgboost.tar.gz", files)


@pytest.mark.thorough
def test_the_cost_of_a_script_is_said(
    servefit: Servefit, sources: Sources, xgboost_with_script: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("".join(sources.payload.read_text().splitlines(keepends=True)[:20]))
    sent = ("--payload", rows, "--each-line", "--trust-code")
    ended = servefit("profile", xgboost_with_script, *sent, *QUICK)
    assert ended.status == 0, ended.stderr
    cost = ended.document["script_cost"]
    assert cost["reason"] is None, cost
    assert (cost["file"], cost["requests"], cost["rows"]) == ("xgboost-model", 20, 1)
    assert cost["tried_s"]["xgboost"] >= cost["file_s"] == min(cost["tried_s"].values())
    assert cost["io_s"] > 0
    assert cost["file_s"] == cost["tried_s"][cost["backend"]] < cost["script_s"]
    assert cost["largest_difference"] < 1e-5
    assert cost["not_compared"] is None
    assert re.fullmatch(
        rf"script: \S+ .?s a request; the same xgboost-model without the script, by {cost['backend']}: \S+ .?s, "
        r"and \S+ .?s to read and answer it; the script costs \S+ .?s of it",
        cost["text"],
    )
    assert "beside the script is a model" not in said(ended)
    assert NOT_COMPARED in said(ended)


@pytest.mark.thorough
def test_a_job_says_the_cost_of_a_script_and_so_does_its_report(
    servefit: Servefit, sources: Sources, xgboost_with_script: Path, tmp_path: Path
) -> None:
    sent = ("--payload", sources.payload, "--trust-code", "--name", "scripted", "--quiet")
    options = ("--max-tests", "1", "--profile", "local-1c", "--no-http", "--allow-noise", "--budget", "4m")
    ended = servefit("recommend", xgboost_with_script, *sent, *options)
    assert ended.status == 0, ended.stderr
    words = " ".join(ended.stdout.split())
    assert "a request; the same xgboost-model without the script, by" in words
    assert re.search(r"Predictions with and without the script differ by \S+ at most, on 200 rows\.", words)
    assert "beside the script is a model" not in said(ended)
    document = servefit("show", "scripted", "--format", "json").document
    assert document["script_cost"]["rows"] == 200
    steps = servefit("steps", "scripted", "--kind", "script_cost", "--format", "json").document["steps"]
    assert [step["metrics"]["text"] for step in steps] == [document["script_cost"]["text"]]
    page = tmp_path / "report.html"
    assert servefit("report", "scripted", "-o", page).status == 0
    assert "the same xgboost-model without the script" in page.read_text()


@pytest.mark.thorough
def test_photos_are_no_rows_for_the_file_beside_a_script(servefit: Servefit, sources: Sources, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "offset.txt": "100",
        "model.ubj": sources.xgboost.read_bytes(),
        "code/inference.py": MEANS,
    }
    model = archive(tmp_path / "photos.tar.gz", files)
    ended = servefit("profile", model, "--payload", photos(tmp_path / "photos"), "--trust-code", *QUICK)
    assert ended.status == 0, ended.stderr
    assert ended.document["script_cost"]["script_s"] is None
    assert (
        "model.ubj beside the script is a model that servefit serves by itself: without --trust-code it is measured "
        "without the script; here it was not: request 1 of the payload holds no rows for model.ubj: content-type: "
        "'image/jpeg' is not read here"
    ) in said(ended)


def test_a_saved_model_of_tensorflow_is_refused_with_a_command(servefit: Servefit, tmp_path: Path) -> None:
    model = archive(tmp_path / "tensorflow.tar.gz", {"1/saved_model.pb": b"\x08\x01\x12\x00"})
    ended = servefit("profile", model, "--trust-code", *QUICK)
    assert ended.status == 2
    assert "a TensorFlow SavedModel" in said(ended)
    assert "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx" in said(ended)


@pytest.mark.thorough
def test_what_is_said_of_requests_is_kept_in_the_file_of_a_job(
    servefit: Servefit, pytorch: Path, tmp_path: Path
) -> None:
    job, sent = tmp_path / "job.yaml", ("--payload", photos(tmp_path / "photos"), "--content-type", "image/png")
    assert servefit("recommend", pytorch, *sent, "--save-config", job).status == 2  # its script is not trusted
    assert "content_type: image/png" in job.read_text()
    ended = servefit("recommend", "--config", job, "--trust-code", "--format", "json")
    assert ended.status == 4
    assert "no image/png here" in said(ended)


@pytest.mark.thorough
def test_compiling_says_that_nothing_was_compared(servefit: Servefit, pytorch: Path, tmp_path: Path) -> None:
    ended = servefit("compile", pytorch, "-b", "script", "-o", tmp_path / "out", "--trust-code", "--format", "json")
    assert ended.status == 0, ended.stderr
    found = ended.document
    assert (found["rows_checked"], found["max_abs_error"], found["max_rel_error"]) == (0, None, None)
    assert NOT_COMPARED in said(ended)


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        ((), 2, "is served by its own code/inference.py, which is code"),
        (("--trust-pickle",), 2, "say --trust-code (trust_code=True) if you know who made it"),
        (("--trust-code",), 2, "nobody but the script knows what it takes; give one with --payload"),
        (("--trust-code", "--content-type", "image/jpeg"), 2, "payload is missing, of which a content type is said"),
        (("--trust-code", "--payload", "{photos}", "--batch", "4"), 2, "a script takes one a call; leave it at 1"),
        (("--trust-code", "--payload", "{photos}", "--rows-per-request", "2"), 2, "is one file or one line"),
        (("--trust-code", "--payload", "{photos}", "--backend", "xgboost"), 4, "serves XGBoost models"),
        (
            ("--trust-code", "--payload", "{photos}", "--content-type", "image/png"),
            4,
            "request 1 of the payload: input_fn raised ValueError: no image/png here (line 12 of inference.py)",
        ),
        (("--trust-code", "--payload", "{empty}"), 2, "expected at least one request, got none"),
    ],
)
def test_what_makes_no_sense_is_a_line(
    arguments: tuple[str, ...], status: int, problem: str, servefit: Servefit, pytorch: Path, tmp_path: Path
) -> None:
    folders = {"photos": photos(tmp_path / "photos"), "empty": photos(tmp_path / "empty", count=0)}
    ended = servefit("profile", pytorch, *(each.format(**folders) for each in arguments), *QUICK)
    assert problem in said(ended)
    assert ended.status == status
    assert not ended.stdout


def test_a_request_that_the_script_refuses_is_named_wherever_it_is_in_the_payload(
    servefit: Servefit, pytorch: Path, tmp_path: Path
) -> None:
    folder = photos(tmp_path / "photos", count=20)
    (folder / "02.txt").write_text("no photo")  # after 0.jpg and before 1.jpg
    ended = servefit("profile", pytorch, "--payload", folder, "--trust-code", *QUICK)
    assert ended.status == 4
    assert "script: request 2 of the payload: input_fn raised ValueError: no text/plain here" in said(ended)


def test_photos_are_no_payload_for_a_model_of_rows(servefit: Servefit, sources: Sources, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    ended = servefit("profile", sources.xgboost, "--payload", folder, *QUICK)
    assert (ended.status, "expected a regular file, got a folder" in said(ended)) == (2, True)
    ended = servefit("profile", sources.xgboost, "--payload", folder, "--content-type", "image/jpeg", *QUICK)
    assert (ended.status, "this model takes rows" in said(ended)) == (2, True)


@pytest.mark.thorough
def test_an_endpoint_that_runs_is_sent_files_as_they_are(
    servefit: Servefit, state: Path, pytorch: Path, tmp_path: Path
) -> None:
    with an_endpoint(state, pytorch) as port:
        url = f"http://127.0.0.1:{port}"
        sent = ("--payload", photos(tmp_path / "photos"), "--protocol", "sagemaker-opaque")
        ended = servefit("load", url, *sent, *QUICK)
        assert ended.status == 0, ended.stderr
        asked = servefit("load", url, "--payload", tmp_path / "photos", *QUICK)  # the endpoint says what it takes
        assert (asked.status, asked.document["protocol"]) == (0, "sagemaker-opaque"), asked.stderr
        refused = servefit("load", url, *sent, "--content-type", "image/png", *QUICK)
        assert refused.status == 4
        assert "status 400, 'input_fn failed (reference " in said(refused)
