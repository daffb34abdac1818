"""What an inspection finds out about models of each library. It runs in this process here; ``test_loading`` has the
child process."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from tests.onnx_models import FLOAT, node, save

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.finding.capabilities import backend
from servefit.backends.inspection import first_line, inspect
from servefit.backends.inspection.forest import BrokenTree
from servefit.backends.inspection.onnx_refusals import refusal
from servefit.backends.inspection.onnx_trees import trees_of_onnx_ml_5
from servefit.backends.model import Format, Model, Task, TreeStructure
from servefit.backends.model.inspection_record import Inspection
from servefit.backends.types import Settings
from servefit.errors import CorruptModel, UnsupportedModel


def splits_of(folder: Path, inspection: Inspection) -> dict[str, np.ndarray]:
    assert inspection.splits_name is not None
    with np.load(folder / inspection.splits_name, allow_pickle=False) as stored:
        return dict(stored)


XGBOOST_CASES: list[tuple[dict[str, Any], Task, int, str, tuple[str, ...]]] = [
    ({"objective": "binary:logistic"}, Task.BINARY, 1, "gbtree", ()),
    ({"objective": "binary:logistic", "booster": "dart"}, Task.BINARY, 1, "dart", ()),
    ({"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.5}, Task.BINARY, 1, "random forest", ()),
    ({"objective": "multi:softprob", "num_class": 3}, Task.MULTICLASS, 3, "gbtree", ()),
    ({"objective": "multi:softmax", "num_class": 3}, Task.MULTICLASS, 1, "gbtree", ()),
    ({"objective": "rank:pairwise"}, Task.RANKING, 1, "gbtree", ()),
    ({"objective": "count:poisson"}, Task.REGRESSION, 1, "gbtree", ()),
    (
        {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]},
        Task.REGRESSION,
        2,
        "gbtree",
        ("multi_target", "quantile"),
    ),
]


@pytest.mark.parametrize(("parameters", "task", "outputs", "kind", "peculiarities"), XGBOOST_CASES)
def test_xgboost_models_of_every_kind(
    parameters: dict[str, Any],
    task: Task,
    outputs: int,
    kind: str,
    peculiarities: tuple[str, ...],
    rows: np.ndarray,
    labels: np.ndarray,
    tmp_path: Path,
) -> None:
    import xgboost

    matrix = xgboost.DMatrix(rows, labels, feature_names=list("abcde"))
    if parameters["objective"].startswith("rank:"):
        matrix.set_group([150, 150])
    path = tmp_path / "model.json"
    with xgboost.config_context(verbosity=0):  # newer versions warn of dart
        xgboost.train({"max_depth": 2, "nthread": 1, **parameters}, matrix, 2).save_model(path)
    if kind == "dart":
        # To newer versions it is a gbtree whose trees have weights, and they write so.
        kind = json.loads(path.read_text())["learner"]["gradient_booster"]["name"]
        assert kind in ("dart", "gbtree")
    found = inspect(path, Format.XGBOOST_JSON, tmp_path)
    assert (found.signature.task, found.signature.outputs) == (task, outputs)
    assert found.signature.feature_names == tuple("abcde")
    assert found.trees is not None
    assert (found.trees.objective, found.trees.booster) == (parameters["objective"], kind)
    assert found.trees.peculiarities == peculiarities
    assert found.trees.max_depth <= 2
    assert Inspection.from_json(found.to_json()) == found


def test_xgboost_splits_are_the_thresholds_in_the_file(xgboost_json: Path, tmp_path: Path) -> None:
    found = inspect(xgboost_json, Format.XGBOOST_JSON, tmp_path)
    trees = json.loads(xgboost_json.read_text())["learner"]["gradient_booster"]["model"]["trees"]
    expected = {
        (feature, np.float32(condition))
        for tree in trees
        for feature, condition, child in zip(
            tree["split_indices"], tree["split_conditions"], tree["left_children"], strict=True
        )
        if child >= 0
    }
    splits = splits_of(tmp_path, found)
    pairs = zip(splits["split_features"], splits["split_thresholds"].astype(np.float32), strict=True)
    assert {(int(feature), threshold) for feature, threshold in pairs} == expected
    assert found.trees is not None
    assert found.trees.nodes == sum(len(tree["left_children"]) for tree in trees)


def test_categories_of_xgboost_and_lightgbm_are_found(tmp_path: Path) -> None:
    import lightgbm
    import xgboost

    generator = np.random.default_rng(0)
    rows = generator.standard_normal((400, 2)).astype(np.float32)
    rows[:, 0] = generator.integers(0, 40, 400)
    labels = (rows[:, 0] % 3 == 0).astype(int)
    matrix = xgboost.DMatrix(rows, labels, feature_types=["c", "q"], enable_categorical=True)
    xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 2).save_model(tmp_path / "model.json")
    table = lightgbm.Dataset(rows, labels, categorical_feature=[0])
    parameters = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_per_group": 1, "cat_smooth": 1}
    lightgbm.train(parameters, table, 2).save_model(tmp_path / "model.txt")
    for name, kind in (("model.json", Format.XGBOOST_JSON), ("model.txt", Format.LIGHTGBM_TEXT)):
        found = inspect(tmp_path / name, kind, tmp_path)
        splits = splits_of(tmp_path, found)
        assert found.trees is not None
        assert found.trees.categorical_splits
        assert set(splits["category_features"]) == {0}
        assert 5 < len(splits["categories"]) <= 40
        assert splits["categories"].max() < 40


LIGHTGBM_CASES: list[tuple[dict[str, Any], Task, int, str]] = [
    ({"objective": "binary"}, Task.BINARY, 1, "missing_type_none"),
    ({"objective": "binary", "sigmoid": 2.0}, Task.BINARY, 1, "sigmoid"),
    ({"objective": "binary", "zero_as_missing": True}, Task.BINARY, 1, "zero_as_missing"),
    (
        {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        Task.BINARY,
        1,
        "average_output",
    ),
    ({"objective": "multiclass", "num_class": 2}, Task.MULTICLASS, 2, "missing_type_none"),
    ({"objective": "multiclassova", "num_class": 2}, Task.MULTICLASS, 2, "one_vs_all"),
    ({"objective": "regression", "reg_sqrt": True}, Task.REGRESSION, 1, "sqrt"),
    ({"objective": "regression", "linear_tree": True}, Task.REGRESSION, 1, "linear_tree"),
    ({"objective": "quantile", "alpha": 0.9}, Task.REGRESSION, 1, "quantile"),
    ({"objective": "lambdarank"}, Task.RANKING, 1, "missing_type_none"),
]


@pytest.mark.parametrize(("parameters", "task", "outputs", "peculiarity"), LIGHTGBM_CASES)
def test_lightgbm_models_of_every_kind(
    parameters: dict[str, Any],
    task: Task,
    outputs: int,
    peculiarity: str,
    rows: np.ndarray,
    labels: np.ndarray,
    tmp_path: Path,
) -> None:
    import lightgbm
    import treelite

    group = [150, 150] if task is Task.RANKING else None
    fixed = {"num_leaves": 4, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train({**fixed, **parameters}, lightgbm.Dataset(rows, labels, group=group), 2)
    path = tmp_path / "model.txt"
    booster.save_model(path)
    found = inspect(path, Format.LIGHTGBM_TEXT, tmp_path)
    assert (found.signature.task, found.signature.outputs, found.signature.features) == (task, outputs, 5)
    assert found.trees is not None
    assert found.trees.objective == parameters["objective"]
    assert found.trees.booster == parameters.get("boosting", "gbdt")
    assert peculiarity in found.trees.peculiarities
    assert found.trees.trees == booster.num_trees()
    if peculiarity != "linear_tree":  # Treelite does not read those
        assert found.trees.max_depth == treelite.frontend.load_lightgbm_model(path).get_tree_depth().max()
    thresholds = {node["threshold"] for node in inner_nodes(booster)}
    assert set(splits_of(tmp_path, found)["split_thresholds"]) == thresholds


def inner_nodes(booster: Any) -> list[dict[str, Any]]:
    """The splits of a LightGBM model as LightGBM itself dumps them."""
    waiting = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    found = []
    while waiting:
        node = waiting.pop()
        if "threshold" in node:
            found.append(node)
            waiting += [node["left_child"], node["right_child"]]
    return found


def pickled(estimator: Any, folder: Path) -> Inspection:
    path = folder / "model.pkl"
    path.write_bytes(pickle.dumps(estimator))
    return inspect(path, Format.PICKLE, folder)


@pytest.mark.integration
def test_scikit_learn_trees(rows: np.ndarray, labels: np.ndarray, tmp_path: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestRegressor
    from sklearn.tree import DecisionTreeClassifier

    for estimator, task in (
        (HistGradientBoostingClassifier(max_iter=2), Task.BINARY),
        (IsolationForest(n_estimators=3, random_state=0), Task.OUTLIER),
        (RandomForestRegressor(3, max_depth=3, random_state=0), Task.REGRESSION),
        (DecisionTreeClassifier(max_depth=3, random_state=0), Task.BINARY),
    ):
        found = pickled(estimator.fit(rows, labels), tmp_path)
        assert (found.signature.task, found.signature.outputs, found.signature.features) == (task, 1, 5)
        assert found.signature.accepts_missing
        assert found.trees is not None
        assert found.trees.objective == type(estimator).__name__
        assert splits_of(tmp_path, found)["split_thresholds"].size
        structure = found.trees
    assert structure.trees == 1
    assert structure.nodes == estimator.tree_.node_count
    assert structure.max_depth == estimator.get_depth()


def test_a_pipeline_has_no_trees_and_takes_no_missing_values(rows: np.ndarray, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = np.digitize(rows[:, 0], [-0.5, 0.5])
    found = pickled(make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, classes), tmp_path)
    assert (found.signature.task, found.signature.outputs) == (Task.MULTICLASS, 3)
    assert not found.signature.accepts_missing
    assert found.trees is None
    with np.load(tmp_path / (found.splits_name or "")) as marks:
        usual = marks["split_thresholds"][marks["split_features"] == 0]
    assert abs(np.median(usual) - rows[:, 0].mean()) < 0.1, "hard rows are drawn around what the scaler knows"


def test_a_classifier_without_probabilities_gives_its_numeric_labels(
    rows: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    from sklearn.svm import LinearSVC

    assert pickled(LinearSVC().fit(rows, labels), tmp_path).signature.outputs == 1
    with pytest.raises(UnsupportedModel, match="without predict_proba"):
        pickled(LinearSVC().fit(rows, np.array(["no", "yes"])[labels]), tmp_path)


def test_pickles_that_cannot_be_served_say_why(rows: np.ndarray, labels: np.ndarray, tmp_path: Path) -> None:
    from sklearn.cluster import KMeans
    from sklearn.ensemble import RandomForestClassifier

    for content, reason in (
        (RandomForestClassifier(), "has not been fitted"),
        (KMeans(2, n_init=1).fit(rows), "no classifier, regressor or outlier detector"),
        ({"weights": [1.0]}, "dict"),
    ):
        with pytest.raises(UnsupportedModel, match=reason):
            pickled(content, tmp_path)


def test_a_pickle_that_needs_what_is_not_here_says_what(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    for content, reason in (
        (b"cno_such_module\nThing\n.", "no_such_module"),
        (b"cpathlib\nNoSuchPath\n.", "NoSuchPath"),
    ):
        path.write_bytes(content)
        with pytest.raises(UnsupportedModel, match=reason):
            inspect(path, Format.PICKLE, tmp_path)


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3)])
def test_joblib_files_become_plain_pickles(compress: Any, rows: np.ndarray, labels: np.ndarray, tmp_path: Path) -> None:
    import joblib
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit(rows, labels)
    path = tmp_path / "model.joblib"
    joblib.dump(fitted, path, compress=compress)
    found = inspect(path, Format.PICKLE, tmp_path)
    assert found.file_name is not None
    restored = pickle.loads((tmp_path / found.file_name).read_bytes())
    np.testing.assert_array_equal(restored.predict_proba(rows), fitted.predict_proba(rows))


def test_another_version_of_scikit_learn_is_a_warning(
    rows: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit(rows, labels)
    state = fitted.__getstate__()
    monkeypatch.setattr(LogisticRegression, "__getstate__", lambda self: {**state, "_sklearn_version": "1.0.1"})
    found = pickled(fitted, tmp_path)
    assert len(found.warnings) == 1
    assert "1.0.1" in found.warnings[0]


def test_a_pickled_xgboost_model_becomes_its_own_format(rows: np.ndarray, labels: np.ndarray, tmp_path: Path) -> None:
    import xgboost

    estimator = xgboost.XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1).fit(rows, labels)
    found = pickled(estimator, tmp_path)
    assert found.format is Format.XGBOOST_UBJSON
    assert found.file_name is not None
    restored = xgboost.Booster(model_file=tmp_path / found.file_name)
    np.testing.assert_array_equal(restored.inplace_predict(rows), estimator.predict_proba(rows)[:, 1])


def test_native_exceptions_become_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text('{"learner": {"attributes": {}}, "version": [3, 0, 0]}')
    with pytest.raises(CorruptModel) as caught:
        inspect(path, Format.XGBOOST_JSON, tmp_path)
    assert "\n" not in str(caught.value)
    message = "[10:11:12] /build/src/json.cc:12: Unknown construct, near 3\n\nStack trace:\n  [bt] (0)"
    assert first_line(ValueError(message)) == "Unknown construct, near 3"
    assert first_line(ValueError()) == "ValueError"


@pytest.mark.parametrize("message", ["Check failed: beg <= size_ (33128 vs. 100) : ", "std::bad_alloc"])
def test_what_a_library_says_of_a_file_that_is_cut_off_is_said_in_words(message: str) -> None:
    assert first_line(ValueError(message)).startswith("it is damaged or cut off")
    assert "memory" in first_line(ValueError("std::bad_alloc"))


@pytest.mark.parametrize(
    ("said", "told", "remedy"),
    [
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Gemm(6) node with name ''",
            "ONNX Runtime has no Gemm as opset 6 has it",
            "newer opset",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from /m.onnx failed:Fatal error: com.x:Op(-1) is not a "
            "registered function/op",
            "it has the operator com.x:Op, which ONNX Runtime does not know",
            None,
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /src/text.cc:235 Locale() Failed to "
            "construct locale with name:en_US.UTF-8:locale::facet",
            "it needs the locale en_US.UTF-8, which this host does not have",
            "locales-all",
        ),
        (
            "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from /m.onnx failed:Protobuf parsing failed.",
            "cannot read a model from /m.onnx: Protobuf parsing failed",
            None,
        ),
    ],
)
def test_what_onnx_runtime_says_is_told_without_its_own_sources(said: str, told: str, remedy: str | None) -> None:
    error = refusal(Path("/m.onnx"), RuntimeError(said))
    assert told in str(error)
    assert "ONNXRuntimeError" not in str(error)
    assert (remedy is None) == (error.remedy is None)
    assert remedy is None or remedy in str(error.remedy)


def test_a_pickle_of_something_else_is_told_what_it_holds_and_what_to_save(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Path("model")))
    with pytest.raises(
        UnsupportedModel, match=r"holds an object of type pathlib.PosixPath; save the xgboost"
    ) as raised:
        inspect(path, Format.PICKLE, tmp_path)
    assert "give a path" not in str(raised.value)


@pytest.mark.parametrize("inside", [False, True])
def test_a_threshold_is_not_applied_wherever_it_is_and_a_warning_says_so(*, inside: bool, tmp_path: Path) -> None:
    threshold = FixedThresholdClassifier(LogisticRegression(), threshold=0.3)
    model = make_pipeline(StandardScaler(), threshold) if inside else threshold
    model.fit([[0.0], [1.0]], [0, 1])
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    inspection = inspect(path, Format.PICKLE, tmp_path)
    assert inspection.warnings[0].startswith("the threshold of the FixedThresholdClassifier is not applied")


@pytest.mark.integration
def test_a_threshold_of_scores_is_applied_since_there_are_no_probabilities(tmp_path: Path) -> None:
    rows = np.linspace(-1, 1, 40)[:, np.newaxis]
    scores = FixedThresholdClassifier(LinearSVC(), threshold=0.5, response_method="decision_function")
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(scores.fit(rows, rows[:, 0] > 0)))
    model = Model.load(path, trust_pickle=True)
    assert model.warnings == ()
    predicted = load_predictor(compile_model(model, "sklearn").artifact, Settings()).predict(rows)
    np.testing.assert_array_equal(predicted, scores.predict(rows))


def test_a_threshold_that_was_not_fitted_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(FixedThresholdClassifier(LogisticRegression())))
    with pytest.raises(UnsupportedModel, match="has not been fitted"):
        inspect(path, Format.PICKLE, tmp_path)


@pytest.mark.parametrize("held", [{"model": "a line", "threshold": 0.4}, ["a line", 0.4], ("a line", ["a", "b"])])
def test_the_only_model_beside_other_things_is_served_with_a_warning_of_these(held: Any, tmp_path: Path) -> None:
    line = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    entries = held if isinstance(held, dict) else dict(enumerate(held))
    holding = {key: line if value == "a line" else value for key, value in entries.items()}
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(holding if isinstance(held, dict) else type(held)(holding.values())))
    inspection = inspect(path, Format.PICKLE, tmp_path)
    assert inspection.signature.features == 1
    [warning] = inspection.warnings
    assert f"the file holds a {type(held).__name__}, of which" in warning
    assert "not applied: 'threshold'" in warning or "not applied: 1" in warning
    assert inspection.file_name is not None
    assert pickle.loads((tmp_path / inspection.file_name).read_bytes()).coef_ == pytest.approx([2.0])


@pytest.mark.parametrize(
    ("held", "reason", "remedy"),
    [
        (
            {"scaler": StandardScaler(), "model": LinearRegression()},
            "several models: 'scaler' (StandardScaler)",
            "Pipeline",
        ),
        ({"model": 1}, "a dict without a model: 'model' (int)", "save the model in it alone"),
        ([], "a list without a model", "save the model in it alone"),
    ],
)
def test_several_models_in_one_pickle_and_none_are_refused_by_name(
    held: Any, reason: str, remedy: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(held))
    with pytest.raises(UnsupportedModel, match=re.escape(reason)) as raised:
        inspect(path, Format.PICKLE, tmp_path)
    assert remedy in str(raised.value)


def test_outputs_that_come_out_of_a_sigmoid_say_so(tmp_path: Path) -> None:
    nodes = [
        node("Sigmoid", ["x"], ["probabilities"]),
        node("Reshape", ["probabilities", "shape"], ["first"]),
        node("Identity", ["first"], ["text"]),
        node("Neg", ["x"], ["plain"]),
    ]
    shape = {"shape": np.array([0, 2, 2])}
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4])}, nodes, {"text": FLOAT, "plain": FLOAT}, shape)
    outputs = inspect(path, Format.ONNX, tmp_path).signature.output_tensors
    assert {output.name: output.of_sigmoid for output in outputs} == {"text": True, "plain": False}


def onnx_numbers(values: list[float], dtype: type) -> Any:
    import onnx

    return onnx.numpy_helper.from_array(np.array(values, dtype=dtype))


def ensemble_of_onnx_ml_5(path: Path) -> Path:
    """Two trees: x[0] <= 0.5, then x[1] one of 2 and 4; and x[2] < -1.25."""
    ensemble = node(
        "TreeEnsemble",
        ["x"],
        ["y"],
        "ai.onnx.ml",
        tree_roots=[0, 2],
        nodes_featureids=[0, 1, 2],
        nodes_modes=onnx_numbers([0, 6, 1], np.uint8),
        nodes_splits=onnx_numbers([0.5, 0, -1.25], np.float32),
        nodes_truenodeids=[1, 0, 3],
        nodes_trueleafs=[0, 1, 1],
        nodes_falsenodeids=[2, 1, 4],
        nodes_falseleafs=[1, 1, 1],
        membership_values=onnx_numbers([2, 4, np.nan], np.float32),
        leaf_targetids=[0] * 5,
        leaf_weights=onnx_numbers([1, 2, 3, 10, 20], np.float32),
        n_targets=1,
        aggregate_function=1,
        post_transform=0,
    )
    return save(path, {"x": (FLOAT, ["n", 3])}, [ensemble], {"y": FLOAT}, onnx_ml=5)


@pytest.mark.integration
def test_the_ensemble_of_onnx_ml_5_is_one(tmp_path: Path) -> None:
    path = ensemble_of_onnx_ml_5(tmp_path / "trees.onnx")
    found = inspect(path, Format.ONNX, tmp_path)
    assert found.trees == TreeStructure(
        trees=2,
        nodes=8,
        max_depth=2,
        objective="TreeEnsemble NONE",
        booster="TreeEnsemble",
        categorical_splits=True,
    )
    assert (found.signature.task, found.signature.accepts_missing) == (Task.REGRESSION, True)
    with np.load(tmp_path / "splits.npz") as splits:
        assert splits["split_features"].tolist() == [0, 1, 1, 2]
        assert splits["split_thresholds"].tolist() == [0.5, 2, 4, -1.25]
    model = Model.load(path)
    assert not backend("openvino").supports(model).available
    predictor = load_predictor(compile_model(model, "onnxruntime").artifact, Settings())
    rows = np.array([[0, 4, 0], [0, 3, -2], [1, 2, np.nan]], dtype=np.float32)
    np.testing.assert_array_equal(predictor.predict(rows), [21, 12, 23])


@pytest.mark.parametrize("child", [0, 7])
def test_a_tree_that_comes_back_or_points_elsewhere_is_broken(child: int) -> None:
    numbers = {
        "nodes_featureids": [0, 1],
        "nodes_modes": [0, 0],
        "nodes_splits": [0.5, 1.5],
        "nodes_truenodeids": [1, child],
        "nodes_trueleafs": [0, 0],
        "nodes_falsenodeids": [0, 1],
        "nodes_falseleafs": [1, 1],
        "tree_roots": [0],
    }
    with pytest.raises(BrokenTree, match="comes back to a node" if child == 0 else "a node that it does not have"):
        list(trees_of_onnx_ml_5(numbers))
