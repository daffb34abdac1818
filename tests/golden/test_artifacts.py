"""Artifacts and endpoints that an earlier servefit wrote are served, and predict what they predicted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import numpy as np
import pytest
from tests.golden.cases import COMPILED
from tests.golden.kept import OLDEST_DAILY, assert_kept, kept, of_each

import servefit as sf

if TYPE_CHECKING:
    from tests.golden.conftest import Servefit

pytestmark = pytest.mark.integration

TOLERANCE = 1e-5
"""What float32 and libraries of other versions may change in a probability."""


@contextmanager
def served(description: Path) -> Iterator[str]:
    """The endpoint that a file describes, as the ``run`` of a bundle starts it; gives its URL."""
    reading, writing = os.pipe()
    arguments = ("-P", "-m", "servefit.serving", description, "--port", "0", "--ready-fd", writing)
    with subprocess.Popen([sys.executable, *map(str, arguments)], pass_fds=[writing]) as process:
        os.close(writing)
        try:
            with os.fdopen(reading) as ready:
                line = ready.readline()
            assert line, "it did not come up"
            yield f"http://127.0.0.1:{json.loads(line)['port']}"
        finally:
            process.terminate()
    assert process.returncode == 0


def predicted(url: str, copy: Path) -> np.ndarray:
    body = (copy / "sources" / "payload.csv").read_bytes()
    with urlopen(Request(f"{url}/invocations", data=body, headers={"content-type": "text/csv"})) as answer:
        return np.loadtxt(answer, delimiter=",")


OTHERS = [backend for backend in COMPILED if backend != "forest"]


@pytest.mark.parametrize(
    "folder",
    [
        *("compiled/forest", "bundle"),
        *(pytest.param(f"compiled/{backend}", marks=pytest.mark.thorough) for backend in OTHERS),
    ],
)
def test_an_endpoint_predicts_what_it_predicted(copy: Path, folder: str) -> None:
    predictions = kept(copy, "compiled", "predictions")
    backend = json.loads((copy / folder / "endpoint.json").read_bytes())["artifact"]["backend"]
    with served(copy / folder / "endpoint.json") as url:
        assert predicted(url, copy) == pytest.approx(predictions[backend], abs=TOLERANCE)


@pytest.mark.parametrize(
    "backend", ["forest", *(pytest.param(backend, marks=pytest.mark.thorough) for backend in OTHERS)]
)
def test_an_artifact_of_today_is_described_by_the_same_fields(
    servefit: Servefit, copy: Path, tmp_path: Path, backend: str
) -> None:
    ended = servefit("compile", copy / "sources/model.ubj", "-b", backend, "-o", tmp_path / "new", "--format", "json")
    assert ended.status == 0, ended.stderr
    old, new = kept(copy, "compiled", backend), ended.document
    assert old.keys() <= new.keys()
    assert (new["backend"], new["target"], new["model_digest"]) == (backend, old["target"], old["model_digest"])
    old_manifest, manifest = (
        json.loads((folder / "artifact.json").read_bytes())
        for folder in (copy / "compiled" / backend / "artifact", tmp_path / "new")
    )
    assert old_manifest.keys() <= manifest.keys()
    assert (manifest["backend"], manifest["model_digest"]) == (backend, old["model_digest"])


@pytest.mark.thorough
@of_each("show/*.json", names=("two-profiles", "onnx"), daily=("two-profiles",))
def test_a_recommendation_is_exported_by_the_name_that_it_had(
    servefit: Servefit, copy: Path, tmp_path: Path, name: str
) -> None:
    old = kept(copy, "show", name)["recommendations"][0]
    exported = servefit("export", f"{name}/{old['id']}", "-o", tmp_path / "bundle", "--format", "json")
    assert exported.status == 0, exported.stderr
    assert (exported.document["backend"], exported.document["instance_profile"]) == (
        old["backend"],
        old["instance_profile"],
    )
    description = json.loads((tmp_path / "bundle" / "endpoint.json").read_bytes())
    assert fields_of(json.loads((copy / "bundle" / "endpoint.json").read_bytes())) <= fields_of(description)
    environment = old["environment"]
    assert description["workers"] == int(environment["MODEL_SERVER_WORKERS"])
    assert description["settings"]["threads"] == int(environment["OMP_NUM_THREADS"])
    assert description["max_batch"] == old["settings"]["max_batch"]


def fields_of(description: dict[str, object]) -> set[str]:
    """The fields of an endpoint and of its limits: what an operator may have changed by hand."""
    limits = description["limits"]
    assert isinstance(limits, dict)
    return {*description, *limits}


@OLDEST_DAILY
def test_what_a_job_recommends_is_served_from_python(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(copy / "home"))
    best = sf.load_job("rounds").best
    assert best is not None
    expected = kept(copy, "compiled", "predictions")[best.trial.configuration.backend]
    with best.serve() as endpoint:
        assert predicted(endpoint.url, copy) == pytest.approx(expected, abs=TOLERANCE)


def test_an_endpoint_whose_description_was_edited_predicts_the_same(copy: Path, tmp_path: Path) -> None:
    old = json.loads((copy / "bundle" / "endpoint.json").read_bytes())
    folder = str(copy / "bundle" / "artifact")
    edited = {**old, "artifact": {**old["artifact"], "folder": folder}, "max_batch": 4, "batch_delay_us": 100}
    (tmp_path / "endpoint.json").write_text(json.dumps(edited))
    with served(tmp_path / "endpoint.json") as url:
        expected = kept(copy, "compiled", "predictions")[old["artifact"]["backend"]]
        assert predicted(url, copy) == pytest.approx(expected, abs=TOLERANCE)
        with urlopen(f"{url}/v2/models/{old['name']}") as answer:
            assert_kept(json.loads(answer.read()), {"name": old["name"]})
