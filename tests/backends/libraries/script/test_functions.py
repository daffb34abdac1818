"""Scripts that cannot be called are refused before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.scripts import ECHO, archive, scripted

from servefit.backends.model import Format, Model
from servefit.errors import CorruptModel, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package' (line 1 of inference.py)"),
        ("def model_fn(model_dir:\n", "SyntaxError"),
        ("raise KeyError('weights')\n", "does not import: KeyError: 'weights' (line 1 of inference.py)"),
        pytest.param("import sys\nsys.exit('bye')\n", "does not import: SystemExit: bye", marks=pytest.mark.thorough),
        pytest.param(
            "x = 1\n",
            "has no model_fn: it has none of the functions of SageMaker's contract",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "def predict_fn(data, model):\n    return 1\n",
            "has no model_fn: it has predict_fn",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "model_fn = 3\n", "has model_fn, which is no function but of type int", marks=pytest.mark.thorough
        ),
        (ECHO + "def input_fn(body):\n    pass\n", "has transform_fn and input_fn"),
        pytest.param(
            "def model_fn():\n    pass\n",
            "has model_fn(), which is called as model_fn(model_dir)",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "def model_fn(model_dir):\n    pass\ndef predict_fn(data):\n    pass\n",
            "has predict_fn(data), which is called as predict_fn(data, model)",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "def model_fn(model_dir):\n    pass\ndef input_fn(a, b, c, d):\n    pass\n",
            "which is called as input_fn(body, content_type): missing a required argument",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_a_script_that_cannot_be_called_is_refused_with_its_own_words(script: str, said: str, tmp_path: Path) -> None:
    path = scripted(tmp_path / "model.tar.gz", script)
    with pytest.raises(UnsupportedModel) as refused:
        Model.load(path, trust_code=True)
    assert said in str(refused.value)
    assert refused.value.remedy


def test_a_package_that_is_missing_is_what_to_install(tmp_path: Path) -> None:
    path = scripted(tmp_path / "model.tar.gz", "import no_such_package.inner\n")
    with pytest.raises(UnsupportedModel) as refused:
        Model.load(path, trust_code=True)
    assert "pip install no_such_package" in str(refused.value.remedy)


def test_a_script_finds_what_lies_beside_it(tmp_path: Path) -> None:
    files = {"code/inference.py": f"import beside\nassert beside.NUMBER == 3\n{ECHO}", "code/beside.py": "NUMBER = 3\n"}
    model = Model.load(archive(tmp_path / "model.tar.gz", files), trust_code=True)
    assert model.format is Format.SCRIPT


def test_optional_and_keyword_arguments_are_no_context(tmp_path: Path) -> None:
    script = "def model_fn(model_dir, *rest, verbose=False):\n    return None\ndef predict_fn(data, model):\n    pass\n"
    assert Model.load(scripted(tmp_path / "model.tar.gz", script), trust_code=True).format is Format.SCRIPT


def test_a_script_that_crashes_its_process_is_refused(tmp_path: Path) -> None:
    path = scripted(tmp_path / "model.tar.gz", "import os\nos.abort()\n")
    with pytest.raises(CorruptModel, match="opening it, script crashed with SIGABRT"):
        Model.load(path, trust_code=True)


def test_names_that_lead_out_of_the_archive_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.tar.gz", {"code/inference.py": ECHO, "code/../../evil.py": "x"})
    with pytest.raises(CorruptModel, match="not safe to unpack"):
        Model.load(path, trust_code=True)
    assert not (tmp_path / "evil.py").exists()
