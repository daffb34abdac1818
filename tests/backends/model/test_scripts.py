"""Scripts beside models: whether one is the model, or left out, and what is said of it."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from tests.scripts import ECHO, SKLEARN, archive

from servefit.backends.model import Format, Model
from servefit.backends.model.kept import as_kept, check_kept
from servefit.errors import CorruptModel, SpecError, UnsupportedModel, UntrustedModel

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def both(tmp_path: Path, xgboost_ubjson: Path) -> Path:
    """An archive of a model of xgboost and a script."""
    files: dict[str, str | bytes] = {"xgboost-model": xgboost_ubjson.read_bytes(), "code/inference.py": ECHO}
    return archive(tmp_path / "model.tar.gz", files)


def test_a_script_alone_waits_for_its_own_consent(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.tar.gz", {"code/inference.py": "raise SystemError('it was run')\n"})
    with pytest.raises(UntrustedModel, match=r"model\.tar\.gz is served by its own code/inference\.py.*--trust-code"):
        Model.load(path, trust_pickle=True)


def test_without_consent_the_model_beside_the_script_is_opened_and_the_script_named(both: Path) -> None:
    model = Model.load(both)
    assert model.format is Format.XGBOOST_UBJSON
    [warning] = [each for each in model.warnings if "inference.py" in each]
    assert "is not run" in warning
    assert "--trust-code" in warning


def test_with_consent_the_script_is_the_model_and_what_lies_beside_it_is_named(both: Path) -> None:
    model = Model.load(both, trust_code=True)
    assert (model.format, model.reference, model.is_called_singly) == (Format.SCRIPT, "script", True)
    assert model.signature.opaque
    said = "; ".join(model.warnings)
    assert "code/inference.py answers was not compared with anything" in said
    assert "xgboost-model beside the script is a model that servefit serves by itself: without --trust-code" in said


@pytest.mark.parametrize("name", ["inference.py", "model/code/inference.py", "code/predictor.py"])
def test_a_script_that_is_not_where_scripts_are_is_named(name: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "model.tar.gz", {name: ECHO, "weights.txt": "weights"})
    with pytest.raises(CorruptModel, match=f"none of its 2 files is a model; {name} is no script of it") as refused:
        Model.load(path, trust_code=True)
    assert refused.value.remedy == "move it to code/inference.py if it is meant to be, and say --trust-code"
    (tmp_path / "model" / name).parent.mkdir(parents=True)
    (tmp_path / "model" / name).write_text(ECHO)
    with pytest.raises(CorruptModel, match=f"{name} is no script of it, which would be code/inference.py"):
        Model.load(tmp_path / "model", trust_code=True)


def test_a_script_at_the_top_of_an_archive_is_not_left_out_without_a_word(tmp_path: Path, xgboost_ubjson: Path) -> None:
    files: dict[str, str | bytes] = {"xgboost-model": xgboost_ubjson.read_bytes(), "inference.py": ECHO}
    model = Model.load(archive(tmp_path / "model.tar.gz", files), trust_code=True)
    assert model.format is Format.XGBOOST_UBJSON
    assert any("inference.py beside the model is not run: it would be code/" in each for each in model.warnings)


@pytest.mark.parametrize("consent", ["trust_code", "trust_pickle"])
def test_consent_is_true_or_false_and_no_text(consent: str, both: Path) -> None:
    given: Any = {consent: "no"}
    with pytest.raises(SpecError, match=f"{consent}: 'no' is not true or false"):
        Model.load(both, **given)


@pytest.mark.thorough
def test_consent_once_is_no_consent_later(both: Path, tmp_path: Path) -> None:
    Model.load(both, trust_code=True)
    assert Model.load(both).format is Format.XGBOOST_UBJSON
    alone = archive(tmp_path / "alone.tar.gz", {"code/inference.py": ECHO})
    Model.load(alone, trust_code=True)
    with pytest.raises(UntrustedModel):
        Model.load(alone)


def test_a_pickle_beside_a_script_needs_the_consent_for_pickles(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(0).standard_normal((40, 3))
    joblib.dump(LogisticRegression().fit(rows, rows[:, 0] > 0), tmp_path / "model.joblib")
    joblib_bytes = (tmp_path / "model.joblib").read_bytes()
    files: dict[str, str | bytes] = {"model.joblib": joblib_bytes, "code/inference.py": SKLEARN}
    path = archive(tmp_path / "model.tar.gz", files)
    with pytest.raises(UntrustedModel, match="is a pickle"):
        Model.load(path)
    assert Model.load(path, trust_pickle=True).format is Format.PICKLE
    scripted = Model.load(path, trust_code=True)
    assert any("without --trust-code, and with --trust-pickle, it is measured" in each for each in scripted.warnings)


def test_a_module_of_pytorch_beside_a_script_needs_the_consent_for_pickles_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as written:
        for name, content in (("m/data.pkl", b""), ("m/code/__torch__.py", b""), ("m/constants.pkl", b"")):
            written.writestr(name, content)
    module = (tmp_path / "model.pth").read_bytes()
    path = archive(tmp_path / "model.tar.gz", {"model.pth": module, "code/inference.py": ECHO})
    scripted = Model.load(path, trust_code=True)
    said = "model.pth beside the script is a model that servefit serves by itself: without --trust-code, and with "
    assert any(f"{said}--trust-pickle, it is measured" in each for each in scripted.warnings)


@pytest.mark.thorough
def test_a_folder_is_the_same_model_whenever_its_files_are_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "code").mkdir(parents=True)
        (tmp_path / name / "code" / "inference.py").write_text(ECHO)
        (tmp_path / name / ".hidden").write_text(name)
    one, two = (Model.load(tmp_path / name, trust_code=True) for name in ("one", "two"))
    assert one.digest == two.digest
    check_kept(one)
    assert as_kept(one) == one
    with pytest.raises(UntrustedModel, match=r"one is served by its own"):
        Model.load(tmp_path / "one")


def test_a_link_out_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "code" / "inference.py").write_text(ECHO)
    (tmp_path / "model" / "weights").symlink_to(tmp_path / "secret")
    with pytest.raises(CorruptModel, match="weights is a link that leads out of it"):
        Model.load(tmp_path / "model", trust_code=True)


@pytest.mark.parametrize(
    ("target", "said"),
    [("1", "current is a link to a folder"), ("/nowhere", "current is a link that leads nowhere")],
)
def test_a_link_whose_files_would_be_missing_is_refused(target: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "code" / "inference.py").write_text(ECHO)
    (tmp_path / "model" / "1").mkdir()
    (tmp_path / "model" / "1" / "weights").write_text("weights")
    (tmp_path / "model" / "current").symlink_to(target)
    with pytest.raises(CorruptModel, match=f"{said}; put what it stands for in its place"):
        Model.load(tmp_path / "model", trust_code=True)


def test_a_script_that_is_gone_is_put_back_from_its_archive(tmp_path: Path) -> None:
    model = Model.load(archive(tmp_path / "model.tar.gz", {"code/inference.py": ECHO}), trust_code=True)
    model.file.chmod(0o600)
    model.file.write_bytes(b"damaged")
    check_kept(model)
    assert Model.load(tmp_path / "model.tar.gz", trust_code=True).digest == model.digest


def test_packages_that_are_not_installed_are_named_and_not_installed(tmp_path: Path) -> None:
    requirements = "numpy>=1\nno-such-package==1.0  # needed\nNo_Such_Other[extra]\n-r more.txt\n\n# a remark\n"
    files = {"code/inference.py": ECHO, "code/requirements.txt": requirements}
    model = Model.load(archive(tmp_path / "model.tar.gz", files), trust_code=True)
    [said] = [each for each in model.warnings if "requirements.txt" in each]
    assert "no-such-package, No_Such_Other, which is not installed here: servefit installs nothing" in said


def test_a_saved_model_of_tensorflow_is_refused_with_what_to_do(tmp_path: Path) -> None:
    files = {"1/saved_model.pb": b"\x08\x01\x12\x00", "1/variables/variables.index": b"x"}
    with pytest.raises(UnsupportedModel) as refused:
        Model.load(archive(tmp_path / "model.tar.gz", files), trust_code=True)
    assert "tf2onnx" in str(refused.value.remedy)


def test_consent_changes_nothing_for_a_model_without_a_script(xgboost_ubjson: Path) -> None:
    with_consent: Any = Model.load(xgboost_ubjson, trust_code=True)
    assert with_consent == Model.load(xgboost_ubjson)
    assert not pickle.loads(pickle.dumps(with_consent)).signature.opaque
