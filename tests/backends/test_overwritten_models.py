"""A model file that is overwritten while servefit works with it: what was opened is what is served, and nothing of the
new content is kept under the digest of the old."""

from __future__ import annotations

import io
import json
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.in_this_process import call_here
from tests.onnx_models import hashed, quantised

from servefit.backends.checking import verification
from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Model, finding, loading
from servefit.backends.model.keeping import file_digest
from servefit.backends.payload.rows import synthetic_rows
from servefit.backends.types import Artifact, Settings
from servefit.errors import CorruptModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("own_home", "in_this_process")]

TREES = (5, 8)


@pytest.fixture(scope="session")
def files(training_rows: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models that predict the opposite of each other, A, and B which overwrites it: of five and of eight trees."""
    import xgboost

    folder = tmp_path_factory.mktemp("two")
    sign = training_rows[:, 0] > 0
    for name, labels, trees in (("a.ubj", sign, TREES[0]), ("b.ubj", ~sign, TREES[1])):
        rows = xgboost.DMatrix(training_rows, labels)
        xgboost.train({"objective": "binary:logistic", "nthread": 1}, rows, trees).save_model(folder / name)
    return folder / "a.ubj", folder / "b.ubj"


@pytest.fixture
def path(files: tuple[Path, Path], tmp_path: Path) -> Path:
    """The file that the user names: A, until it is overwritten."""
    return Path(shutil.copy(files[0], tmp_path / "model.ubj"))


def in_place(content: Path, path: Path) -> None:
    path.write_bytes(content.read_bytes())


def by_another_file(content: Path, path: Path) -> None:
    shutil.copyfile(content, path.with_name("new"))
    path.with_name("new").replace(path)


@contextmanager
def before_each_call(action: Callable[[str], None]) -> Iterator[None]:
    """Have ``action`` happen before whatever is done in a child process, given the name of the function."""

    def started(function: str, *arguments: Any, **options: Any) -> Any:
        action(function.rpartition(":")[2])
        return call_here(function, *arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        for module in (finding, loading, verification):
            patched.setattr(module, "call_isolated", started)
        yield


def predictions(artifact: Artifact, rows: np.ndarray) -> np.ndarray:
    predictor = load_predictor(artifact, Settings(threads=1))
    predicted = predictor.predict(rows)
    predictor.close()
    return predicted


def check(home: Path, files: tuple[Path, Path], rows: np.ndarray) -> None:
    """All that is kept is of the model whose digest it has, and both models are compiled to what they predict."""
    import xgboost

    for kept in (home / "models").rglob("model*.ubj"):
        assert file_digest(kept) in str(kept)
    for path in (home / "artifacts").glob("*/artifact.json"):
        manifest = json.loads(path.read_bytes())
        assert manifest["files"]["model.ubj"]["sha256"] == manifest["model_digest"]
    for file, trees in zip(files, TREES, strict=True):
        model = Model.load(file)
        assert model.trees is not None
        assert (model.digest, model.trees.trees) == (file_digest(file), trees)
        expected = xgboost.Booster(model_file=file).inplace_predict(rows)
        got = predictions(compile_model(model, "xgboost").artifact, rows)
        np.testing.assert_allclose(got, expected, rtol=1e-5, err_msg=f"the model of {trees} trees")


def test_a_model_overwritten_at_every_step_is_served_as_it_was_opened(
    path: Path, files: tuple[Path, Path], own_home: Path, training_rows: np.ndarray
) -> None:
    steps: list[str] = []

    def overwrite(step: str) -> None:
        steps.append(step)
        content = files[len(steps) % 2]
        (in_place if step in ("model_in_file", "inspect_kept", "compile_artifact") else by_another_file)(content, path)

    with before_each_call(overwrite):
        model = Model.load(path)
        overwrite("opened")
        compile_model(model, "xgboost")
    assert steps == [
        "model_in_file",
        "inspect_kept",
        "opened",
        "compile_artifact",
        "predict_reference",
        "predict_candidate",
    ]
    assert model.digest == file_digest(files[0])
    check(own_home, files, training_rows)


def test_a_model_overwritten_all_the_time_leaves_nothing_under_a_false_digest(
    path: Path, files: tuple[Path, Path], own_home: Path, training_rows: np.ndarray
) -> None:
    over = threading.Event()

    def overwrite() -> None:
        while not over.wait(0.03):
            for content, how in ((files[1], in_place), (files[0], by_another_file)):
                how(content, path)
                over.wait(0.03)

    thread = threading.Thread(target=overwrite)
    thread.start()
    try:
        for _ in range(3):
            model = Model.load(path)
            assert model.digest in map(file_digest, files), "no mixture of the two"
            compile_model(model, "xgboost")
    finally:
        over.set()
        thread.join()
    check(own_home, files, training_rows)


def test_a_kept_copy_that_is_damaged_is_compiled_by_nobody_until_the_model_is_opened_again(
    path: Path, files: tuple[Path, Path], own_home: Path
) -> None:
    model = Model.load(path)
    model.file.chmod(0o600)
    in_place(files[1], model.file)
    with pytest.raises(CorruptModel, match="not what it was when it was opened; open the model again"):
        compile_model(model, "xgboost")
    assert not list((own_home / "artifacts").iterdir())
    assert Model.load(path) == model
    assert compile_model(model, "xgboost").artifact.model_digest == file_digest(files[0])


def test_a_kept_copy_that_changes_while_it_is_compiled_is_no_artifact(
    path: Path, files: tuple[Path, Path], own_home: Path, install: Callable[..., None]
) -> None:
    """Here the backend itself overwrites it, and puts it back before anybody looks."""
    install(
        "swapping",
        "swapping_backend:Swapping",
        f"""
        import shutil
        from servefit.backends.types import Availability
        from servefit.backends.engines.xgboost import XGBoostBackend

        class Swapping(XGBoostBackend):
            name = "swapping"
            def compile(self, model, target, workdir):
                model.file.chmod(0o600)
                shutil.copyfile({str(files[1])!r}, model.file)
                facts = super().compile(model, target, workdir)
                shutil.copyfile({str(files[0])!r}, model.file)
                return facts
        """,
    )
    model = Model.load(path)
    with pytest.raises(CorruptModel, match="it was changed while it was read"):
        compile_model(model, "swapping")
    assert not list((own_home / "artifacts").iterdir())


def test_what_is_known_of_a_model_and_is_damaged_is_found_out_anew(
    path: Path, files: tuple[Path, Path], own_home: Path, training_rows: np.ndarray
) -> None:
    model = Model.load(path)
    compile_model(model, "xgboost")
    [record] = model.file.parent.glob("inspection-*/inspection")
    damage(record, record.read_bytes().replace(b'"trees": 5', b'"trees": 8'))
    assert model.splits is not None
    damage(model.splits, model.splits.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptModel, match="not what it was when it was written"):
        synthetic_rows(model, 1)
    assert Model.load(path) == model
    assert len(synthetic_rows(model, 1)) == 1
    # What another model predicts, as an earlier servefit kept it: without a digest
    [reference] = (own_home / "references").iterdir()
    predicted = io.BytesIO()
    np.save(predicted, np.ones(1024, dtype=np.float32))
    damage(reference, predicted.getvalue())
    shutil.rmtree(own_home / "artifacts")
    check(own_home, files, training_rows)


def test_what_is_known_of_another_model_is_not_believed_of_this_one(own_home: Path, tmp_path: Path) -> None:
    of_networks = [Model.load(make(tmp_path / f"{make.__name__}.onnx")) for make in (hashed, quantised)]
    records = [next(model.file.parent.glob("inspection-*/inspection")) for model in of_networks]
    damage(records[0], records[1].read_bytes())
    assert Model.load(of_networks[0].source) == of_networks[0]


def damage(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)
