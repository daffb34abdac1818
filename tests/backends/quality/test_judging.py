"""Artifacts of less exact arithmetic: compiled by real backends, and held against the limits of the user."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from tests.delegating_backends import delegating_backend
from tests.onnx_models import FLOAT, answers, node, save

from servefit.backends.checking.calibration import calibrating_and_rest
from servefit.backends.compilation import compile_again, compile_model, is_cached
from servefit.backends.model import Model
from servefit.backends.payload import Payload
from servefit.backends.quality import judging
from servefit.backends.quality.judging import check_limits, judged_rows, with_labels
from servefit.backends.quality.limits import PrecisionLimits
from servefit.errors import CompileFailed, LimitNotKept, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]

INT8 = "onnxruntime/int8-dynamic"
FEATURES, CLASSES = 16, 3
ROWS = np.random.default_rng(3).standard_normal((600, FEATURES)).astype(np.float32)
PAYLOAD = Payload(rows=ROWS, source="rows.npy")


def perceptron(path: Path) -> Path:
    """A network of one hidden layer that puts rows into three classes."""
    rng = np.random.default_rng(0)
    constants = {
        "w0": (rng.standard_normal((FEATURES, 64)) / 4).astype(np.float32),
        "w1": (rng.standard_normal((64, CLASSES)) / 8).astype(np.float32),
    }
    nodes = [
        node("MatMul", ["x", "w0"], ["sums"]),
        node("Relu", ["sums"], ["hidden"]),
        node("MatMul", ["hidden", "w1"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    return save(path, {"x": (FLOAT, ["n", FEATURES])}, nodes, {"probabilities": FLOAT}, constants)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return perceptron(tmp_path_factory.mktemp("model") / "perceptron.onnx")


@pytest.fixture(scope="module")
def labels(file: Path) -> np.ndarray:
    """What the network says, and something else in one row of eight."""
    rng = np.random.default_rng(5)
    said = answers(file, {"x": ROWS}).argmax(axis=1)
    return np.where(rng.random(len(said)) < 1 / 8, rng.integers(0, CLASSES, len(said)), said)


@pytest.fixture
def model(file: Path, own_home: Path) -> Model:
    return Model.load(file)


def limits(**given: Any) -> PrecisionLimits:
    return with_labels(PrecisionLimits.of(allow_precision="int8", **given))


def test_an_artifact_within_the_limits_is_compiled_with_what_was_found(model: Model) -> None:
    compiled = compile_model(model, INT8, payload=PAYLOAD, precision=limits(max_deviation=0.2))
    quality = compiled.quality
    assert quality is not None
    assert (quality.verdict, quality.precision, quality.rows) == ("PASS", "int8", len(judged_numbers()))
    assert 1e-4 < quality.largest_deviation == compiled.max_rel_error < 0.2
    assert quality.batch_dependent  # the scale of its inputs is that of the whole call
    assert compiled.rows_checked == quality.rows == quality.rows_alone


def judged_numbers() -> np.ndarray:
    return calibrating_and_rest(len(ROWS))[1]


def test_it_is_judged_on_rows_that_nothing_is_calibrated_on(model: Model) -> None:
    calibrating, _ = calibrating_and_rest(len(ROWS))
    judged = judged_rows(limits(max_deviation=0.2), model, PAYLOAD).rows
    assert not {row.tobytes() for row in ROWS[calibrating]} & {row.tobytes() for row in judged}
    assert len(judged) >= 300


def test_what_passed_under_a_loose_limit_is_held_against_a_strict_one(model: Model) -> None:
    compile_model(model, INT8, payload=PAYLOAD, precision=limits(max_deviation=0.2))
    assert is_cached(model, INT8, payload=PAYLOAD)
    with pytest.raises(LimitNotKept, match="it predicts less exactly than is allowed: largest deviation") as caught:
        compile_model(model, INT8, payload=PAYLOAD, precision=limits(max_deviation=1e-5))
    assert caught.value.verdict == "FAIL"
    again = compile_model(model, INT8, payload=PAYLOAD, precision=limits(max_deviation=0.2))
    assert again.cached


def test_what_passed_on_some_rows_is_held_against_others(model: Model) -> None:
    within = limits(max_deviation=0.2)
    compile_model(model, INT8, payload=PAYLOAD, precision=within)
    far = ROWS.copy()
    far[judged_numbers()[0]] *= 1e4
    with pytest.raises(LimitNotKept):
        compile_model(model, INT8, payload=Payload(rows=far, source="far.npy"), precision=within)


def test_it_is_not_judged_twice_under_the_same_limits(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    within = limits(max_deviation=0.2)
    first = compile_model(model, INT8, payload=PAYLOAD, precision=within)
    monkeypatch.setattr("servefit.backends.quality.judging.judge", None)
    assert compile_model(model, INT8, payload=PAYLOAD, precision=within).quality == first.quality


def test_what_nobody_allowed_is_not_compiled(model: Model) -> None:
    for allowed in (None, PrecisionLimits(), PrecisionLimits.of(allow_precision="bf16", max_deviation=0.5)):
        with pytest.raises(CompileFailed, match="it computes in int8, which changes predictions; allow it with"):
            compile_model(model, INT8, payload=PAYLOAD, precision=allowed)


def test_an_exact_backend_is_held_to_the_exact_gate_whatever_is_allowed(
    model: Model, install: Callable[[str, str, str], None]
) -> None:
    from servefit.errors import OutputMismatch

    assert compile_model(model, "onnxruntime", payload=PAYLOAD, precision=limits(max_deviation=0.9)).quality is None
    source = delegating_backend("off", to="onnxruntime", predicting="return self.right.predict(rows) * 1.01")
    install("off", "off_backend:Backend", source)
    with pytest.raises(OutputMismatch):
        compile_model(model, "off", payload=PAYLOAD, precision=limits(max_deviation=0.9))


@pytest.mark.parametrize(
    ("where", "way"),
    [("len(rows) == 1", "alone"), ("len(rows) > 1 and rows[0, 0] != FIRST", "shuffled|together")],
)
def test_what_differs_in_one_way_of_calling_alone_counts(
    model: Model, install: Callable[[str, str, str], None], where: str, way: str
) -> None:
    condition = where.replace("FIRST", repr(float(ROWS[judged_numbers()[0], 0])))
    predicting = f"return self.right.predict(rows) * (1.5 if {condition} else 1)"
    source = delegating_backend("uneven", to="onnxruntime", predicting=predicting)
    source = source.replace('name = "uneven"', 'name = "uneven"\n    precision = "int8"')
    source = source.replace("name = 'uneven'", "name = 'uneven'\n    precision = 'int8'")
    install("uneven", "uneven_backend:Backend", source)
    with pytest.raises(
        LimitNotKept, match=rf"largest deviation 0.5 of the scale, 0.1 is allowed \(\d+ rows, ({way})\)"
    ):
        compile_model(model, "uneven", payload=PAYLOAD, precision=limits(max_deviation=0.1))


def test_a_metric_is_held_against_labels(model: Model, labels: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("label\n" + "\n".join(map(str, labels)))
    scored = {"quality": tmp_path / "labels.csv", "metric": "accuracy"}
    compiled = compile_model(model, INT8, payload=PAYLOAD, precision=limits(**scored, quality_drop="5%"))
    assert compiled.quality is not None
    drop = compiled.quality.drop
    assert drop is not None
    said = answers(model.file, {"x": ROWS}).argmax(axis=1)
    judged = judged_numbers()
    assert drop.reference == pytest.approx((said[judged] == labels[judged]).mean())
    assert drop.drop == pytest.approx(drop.reference - drop.candidate)
    assert drop.drop < drop.bound <= 0.05
    with pytest.raises(LimitNotKept, match="whether it is exact enough is undecided") as caught:
        compile_model(model, INT8, payload=PAYLOAD, precision=limits(**scored, quality_drop="0.1%"))
    assert caught.value.verdict == "UNDECIDED"


def test_an_undecided_share_says_how_many_rows_would_decide(model: Model) -> None:
    loose = compile_model(model, INT8, payload=PAYLOAD, precision=limits(max_deviation="top1=0.5")).quality
    assert loose is not None
    [found] = loose.deviations
    between = (found.found + found.bound) / 2
    with pytest.raises(LimitNotKept) as caught:
        compile_model(model, INT8, payload=PAYLOAD, precision=limits(max_deviation=f"top1={between:.6f}"))
    error = caught.value
    assert error.verdict == "UNDECIDED"
    assert error.rows_needed is not None
    assert error.all_rows is not None
    rest = len(calibrating_and_rest(error.all_rows)[1])
    assert found.rows < error.rows_needed <= rest <= error.rows_needed + 2
    assert f"{error.rows_needed:,} rows to judge on would decide, a payload of {error.all_rows:,}" in str(error)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (None, "is held against rows of your traffic, and there is no payload"),
        (Payload(rows=ROWS, source="synthetic payload", synthetic=True), "there is no payload"),
        (
            Payload(rows=ROWS[:399], source="few.npy"),
            "takes 400 rows at least, 100 to calibrate on and 300 to judge on, and few.npy has 399; give a payload",
        ),
        (
            Payload(rows=np.tile(ROWS[:300], (2, 1)), source="again.npy"),
            "takes 400 different rows at least, 100 to calibrate on and 300 to judge on, and again.npy has 300 of them "
            "in 600; give a payload",
        ),
    ],
)
def test_too_few_rows_are_refused(model: Model, payload: Payload | None, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        check_limits(limits(max_deviation=0.2), model, payload)
    with pytest.raises(SpecError, match=words):
        compile_model(model, INT8, payload=payload, precision=limits(max_deviation=0.2))


def test_400_rows_are_enough(model: Model) -> None:
    payload = Payload(rows=ROWS[:400], source="rows.npy")
    check_limits(limits(max_deviation=0.2), model, payload)
    quality = compile_model(model, INT8, payload=payload, precision=limits(max_deviation=0.2)).quality
    assert quality is not None
    assert quality.rows == 300


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"quality": [0, 1], "metric": "accuracy"}, "has 2 labels, and rows.npy has 600 rows"),
        ({"quality": [1] * 600, "metric": "f1"}, "has one class only, 1: there is no f1 of that"),
        ({"quality": [1] * 600, "metric": "accuracy"}, "has one class only, 1: what always says 1 is right"),
        ({"quality": [0, 1] * 300, "metric": "auc"}, "is of two classes, and the model has 3"),
        ({"quality": [0.5] * 600, "metric": "mae"}, "is of one output, and the model has 3; name a function"),
        ({"quality": [0, 7] * 300, "metric": "accuracy"}, "has the class 7, and the model has 3"),
        ({"quality": [0, 1] * 300, "metric": "recall@3"}, "is 1 whatever is predicted"),
    ],
)
def test_labels_and_metrics_that_do_not_fit_are_found_before_anything_is_compiled(
    model: Model, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        check_limits(limits(**given, quality_drop=0.01), model, PAYLOAD)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_labels_of_a_single_output_are_those_of_two_classes(own_home: Path, tmp_path: Path, metric: str) -> None:
    nodes = [node("MatMul", ["x", "w"], ["sums"]), node("Sigmoid", ["sums"], ["probability"])]
    inputs, weights = {"x": (FLOAT, ["n", FEATURES])}, {"w": np.ones((FEATURES, 1), np.float32)}
    model = Model.load(save(tmp_path / "binary.onnx", inputs, nodes, {"probability": FLOAT}, weights))
    positive = (ROWS.sum(axis=1) > 0).astype(np.int64)
    check_limits(limits(quality=positive, metric=metric, quality_drop=0.01), model, PAYLOAD)
    with pytest.raises(SpecError, match="has the class 2, and the model has 2; number classes from 0"):
        check_limits(limits(quality=positive + 1, metric=metric, quality_drop=0.01), model, PAYLOAD)


def test_a_function_of_the_users_own_is_asked_again_each_time(
    model: Model, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = tmp_path / "calls.json"
    (tmp_path / "scoring.py").write_text(
        "import json, pathlib\n"
        f"told = pathlib.Path({str(told)!r})\n"
        "def score(labels, predictions):\n"
        "    if not told.exists():\n"
        "        told.write_text(json.dumps([len(labels), predictions.shape[1]]))\n"
        "    return (predictions.argmax(axis=1) == labels).mean()\n"
    )
    scored = limits(quality=labels, metric="scoring:score", quality_drop=0.2)
    first = compile_model(model, INT8, payload=PAYLOAD, precision=scored).quality
    assert first is not None
    assert first.drop is not None
    assert json.loads(told.read_text()) == [first.rows, CLASSES]
    told.unlink()
    assert compile_model(model, INT8, payload=PAYLOAD, precision=scored).quality == first
    assert told.exists()


def of_unlike_columns(path: Path) -> Path:
    """A network of four layers. The first column of its rows is much larger than the others, and counts no more."""
    rng = np.random.default_rng(0)
    constants = {f"w{nth}": rng.standard_normal((FEATURES, FEATURES)).astype(np.float32) / 4 for nth in range(4)}
    constants["w0"][0] /= LARGER
    nodes = []
    for nth in range(4):
        nodes += [node("MatMul", [f"x{nth}", f"w{nth}"], [f"y{nth}"]), node("Tanh", [f"y{nth}"], [f"x{nth + 1}"])]
    return save(path, {"x0": (FLOAT, ["n", FEATURES])}, nodes, {"x4": FLOAT}, constants)


LARGER = 500


@pytest.mark.parametrize("name", ["onnxruntime/int8-static", "openvino/int8"])
def test_the_layers_that_lose_most_are_left_as_they_were_until_the_limit_is_kept(name: str, tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[:, 0] *= LARGER
    model, payload = Model.load(of_unlike_columns(tmp_path / "m.onnx")), Payload(rows=rows, source="rows.npy")
    limits = PrecisionLimits.of(allow_precision=("int8",), max_deviation="12%")
    compiled = compile_model(model, name, payload=payload, precision=limits)
    assert compiled.quality is not None
    assert compiled.artifact.facts["layers"][0] == "y0"
    assert compiled.quality.spared == 1
    assert compiled.quality.text.endswith("1 layer left in float32")
    again = compile_again(
        model,
        name,
        payload=payload,
        target=compiled.artifact.target,
        precision=limits,
        quality=compiled.quality,
    )
    assert again.artifact.folder == compiled.artifact.folder
    assert again.cached
    tight = PrecisionLimits.of(allow_precision=("int8",), max_deviation="0.01%")
    with pytest.raises(LimitNotKept, match="it predicts less exactly than is allowed") as refused:
        compile_model(model, name, payload=payload, precision=tight)
    assert "float32" not in refused.value.found


@pytest.mark.parametrize("limit", ["12%", "0.01%"])
def test_rows_are_judged_on_once_however_many_layers_are_tried(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ROWS.copy()
    rows[:, 0] *= LARGER
    model, payload = Model.load(of_unlike_columns(tmp_path / "m.onnx")), Payload(rows=rows, source="rows.npy")
    judged: list[int] = []
    judge = judging.judge

    def counted(*arguments: Any, **options: Any) -> Any:
        judged.append(options["spared"])
        return judge(*arguments, **options)

    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(judging, "judge", counted)
    limits = PrecisionLimits.of(allow_precision=("int8",), max_deviation=limit)
    with nullcontext() if limit == "12%" else pytest.raises(LimitNotKept):
        compile_model(model, "onnxruntime/int8-static", payload=payload, precision=limits)
    assert judged == [1 if limit == "12%" else 0]


def test_layers_with_constant_nodes_are_ranked_and_one_without_rows_is_not(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((FEATURES, FEATURES)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(weights)),
        node("ReduceSum", ["x", "axis"], ["sums"], keepdims=0),
        node("Greater", ["sums", "much"], ["large"]),
        node("Compress", ["x", "large"], ["some"], axis=0),
        node("MatMul", ["some", "w"], ["of_some"]),
        node("ReduceSum", ["of_some"], ["sum"], keepdims=0),
        node("MatMul", ["x", "w"], ["of_all"]),
        node("Add", ["of_all", "sum"], ["y"]),
    ]
    constants = {"axis": np.array([1]), "much": np.float32(1e6)}
    model = Model.load(save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", FEATURES])}, nodes, {"y": FLOAT}, constants))
    limits = PrecisionLimits.of(allow_precision=("int8",), max_deviation="90%")
    for name in ("onnxruntime/int8-static", "openvino/int8"):
        compiled = compile_model(model, name, payload=PAYLOAD, precision=limits)
        assert compiled.artifact.facts["layers"] == ["of_all"]
