"""The contract of a backend, as far as scripts have it: a row is a request, and there is no other library to ask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.conformance.test_backends import ALL
from tests.scripts import scripted

from servefit.backends.compilation import compile_model
from servefit.backends.engines.script import ScriptBackend
from servefit.backends.finding.registry import BUILT_IN, candidate_names, imported
from servefit.backends.model import Model
from servefit.backends.model.opaque import OpaqueRequest, answer_in, request_row
from servefit.backends.model.packing import join
from servefit.backends.types import Target
from servefit.errors import BackendError, ScriptFailed
from servefit.isolation import call_isolated

UPPER = """
def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    if body == b"none":
        raise ValueError("no such text")
    return body.upper(), "text/plain"
"""


@pytest.fixture(scope="module")
def script(session_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(scripted(tmp_path_factory.mktemp("script") / "model.tar.gz", UPPER), trust_code=True)


def requests(*bodies: bytes) -> np.ndarray:
    return join([request_row(OpaqueRequest(body=body, content_type="text/plain"))[None] for body in bodies])


def answers(model: Model, rows: np.ndarray) -> list[tuple[str, bytes]]:
    """What the compiled script answers. Runs in a child process: a script changes the process that it is loaded in."""
    artifact = compile_model(model, "script").artifact
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        predictions = call_isolated("delegating_script:predict", artifact, rows, timeout_s=60)
    return [(answer.content_type, answer.body) for answer in map(answer_in, predictions)]


@pytest.mark.integration
@pytest.mark.parametrize("case", ALL)
def test_a_model_of_rows_is_refused_with_a_reason(case: str, models: dict[str, Model]) -> None:
    supported = ScriptBackend().supports(models[case])
    assert not supported.available
    assert "code/inference.py" in str(supported.reason)
    assert "script" not in candidate_names(models[case].library)


@pytest.mark.integration
@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "script"])
def test_no_other_backend_takes_a_script(name: str, script: Model) -> None:
    supported = imported(name).supports(script)
    assert (supported.available, bool(supported.reason)) == (False, True)
    with pytest.raises(BackendError):
        compile_model(script, name)


@pytest.mark.integration
def test_a_script_is_tried_with_its_own_backend_alone(script: Model) -> None:
    assert candidate_names(script.library)[0] == "script"
    assert not set(candidate_names(script.library)) & (BUILT_IN.keys() - {"script"})
    assert ScriptBackend().supports(script).available


@pytest.mark.integration
def test_rows_in_one_call_are_answered_one_by_one_and_not_modified(script: Model) -> None:
    rows = requests(b"one", b"", b"longer text")
    before = rows.copy()
    assert answers(script, rows) == [("text/plain", b"ONE"), ("text/plain", b""), ("text/plain", b"LONGER TEXT")]
    np.testing.assert_array_equal(rows, before)


@pytest.mark.integration
def test_a_request_that_the_script_refuses_is_a_failure_of_rows(script: Model) -> None:
    with pytest.raises(ScriptFailed) as failed:
        answers(script, requests(b"none"))
    assert (failed.value.function, failed.value.status) == ("transform_fn", 500)
    assert "ValueError: no such text (line 7 of inference.py)" in str(failed.value)


@pytest.mark.integration
def test_nothing_is_compared_and_no_rows_are_said_to_be(script: Model) -> None:
    compilation = compile_model(script, "script")
    assert compilation.rows_checked == 0


def test_probing_says_what_is_there_and_what_is_not_measured() -> None:
    assert ScriptBackend().probe().version
    assert "not measured" in str(ScriptBackend().probe(Target.CUDA).reason)
