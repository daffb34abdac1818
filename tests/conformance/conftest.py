"""Small models of every library and kind, trained and opened once, each with its own library's word on some rows.

What the library says comes from the estimator or booster that was trained, not from the file that servefit reads.
"""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.in_this_process import call_all_here
from tests.onnx_models import answers, hashed

from servefit.backends.checking import steps
from servefit.backends.checking.verification import RowSet, drawn_rows
from servefit.backends.finding.registry import imported
from servefit.backends.model import Model
from servefit.backends.types import Artifact, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FEATURES = 6
CATEGORICAL = (0, 1)


@dataclass(frozen=True)
class Case:
    """A trained model in ``file``, and what its library predicts for ``rows``, which are as a user has them."""

    file: Path
    rows: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True)
class Example:
    """Rows to train on and rows to predict, float64 as users have them, with gaps; targets of every kind."""

    train: np.ndarray
    test: np.ndarray
    train_categorical: np.ndarray
    test_categorical: np.ndarray
    binary: np.ndarray
    classes: np.ndarray
    value: np.ndarray
    count: np.ndarray


def example() -> Example:
    generator = np.random.default_rng(0)
    whole = generator.standard_normal((600, FEATURES))
    # float32 holds none of the decimals, and thresholds lie on some of them.
    whole = np.where(generator.random(whole.shape) < 0.5, np.round(whole, 1), whole)
    rows = np.where(generator.random(whole.shape) < 0.05, 0, whole)
    rows = np.where(generator.random(whole.shape) < 0.05, np.nan, rows)
    categorical = rows.copy()
    categorical[:, CATEGORICAL] = np.abs(whole[:, CATEGORICAL] * (5, 20)).astype(int)
    odd = categorical[:80].copy()
    odd[::7, 0], odd[1::7, 0], odd[2::7, 1], odd[3::7, 1], odd[4::7, 0] = 1000, 2.5, -1, -0.5, np.nan
    # As close to values of the training, and so to thresholds, as float64 allows.
    sides = generator.choice([-np.inf, np.inf], (80, FEATURES))
    test = np.where(generator.random((80, FEATURES)) < 0.3, np.nextafter(rows[:80], sides), rows[:80])
    return Example(
        train=rows,
        test=test,
        train_categorical=categorical,
        test_categorical=odd,
        binary=(whole[:, 0] + whole[:, 1] * whole[:, 2] > 0).astype(int),
        classes=(whole[:, 0] > 0).astype(int) + (whole[:, 1] > 0),
        value=whole[:, 0] * 3 + whole[:, 1],
        count=np.exp(whole[:, 0]),
    )


XGBOOST: dict[str, tuple[dict[str, Any], str]] = {
    "xgboost binary": ({"objective": "binary:logistic", "base_score": 1e-4}, "binary"),
    "xgboost multi-class": ({"objective": "multi:softprob", "num_class": 3}, "classes"),
    "xgboost regression": ({"objective": "reg:squarederror"}, "value"),
    "xgboost poisson": ({"objective": "count:poisson"}, "count"),
    "xgboost ranking": ({"objective": "rank:ndcg"}, "classes"),
    "xgboost random forest": ({"objective": "binary:logistic", "num_parallel_tree": 5, "subsample": 0.5}, "binary"),
    "xgboost dart": ({"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5}, "binary"),
    "xgboost categorical": ({"objective": "binary:logistic", "max_cat_to_onehot": 4}, "binary"),
    "xgboost cox": ({"objective": "survival:cox"}, "count"),
    "xgboost aft": ({"objective": "survival:aft"}, "count"),
    "xgboost hinge": ({"objective": "binary:hinge"}, "binary"),
    "xgboost logitraw": ({"objective": "binary:logitraw"}, "binary"),
    "xgboost softmax": ({"objective": "multi:softmax", "num_class": 3}, "classes"),
    "xgboost quantile": ({"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5]}, "value"),
    "xgboost multi-target": ({"objective": "reg:squarederror"}, "value and count"),
    "xgboost linear": ({"objective": "binary:logistic", "booster": "gblinear"}, "binary"),
}
LIGHTGBM: dict[str, tuple[dict[str, Any], str]] = {
    "lightgbm binary": ({"objective": "binary"}, "binary"),
    "lightgbm multi-class": ({"objective": "multiclass", "num_class": 3}, "classes"),
    "lightgbm ranking": ({"objective": "lambdarank"}, "classes"),
    "lightgbm random forest": (
        {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        "binary",
    ),
    "lightgbm dart": ({"objective": "binary", "boosting": "dart", "drop_rate": 0.5}, "binary"),
    "lightgbm categorical": ({"objective": "binary", "max_cat_to_onehot": 4, "min_data_per_group": 5}, "binary"),
    "lightgbm one-vs-all": ({"objective": "multiclassova", "num_class": 3, "sigmoid": 2}, "classes"),
    "lightgbm sqrt": ({"objective": "regression", "reg_sqrt": True}, "value"),
    "lightgbm zero as missing": ({"objective": "binary", "zero_as_missing": True}, "binary"),
    "lightgbm linear trees": ({"objective": "regression", "linear_tree": True}, "value"),
}
CATBOOST: dict[str, tuple[dict[str, Any], str]] = {
    "catboost binary": ({"loss_function": "Logloss"}, "binary"),
    "catboost multi-class": ({"loss_function": "MultiClass"}, "classes"),
    "catboost one-vs-all": ({"loss_function": "MultiClassOneVsAll"}, "classes"),
    "catboost regression": ({"loss_function": "RMSE", "nan_mode": "Max"}, "value"),
    "catboost poisson": ({"loss_function": "Poisson", "grow_policy": "Lossguide", "max_leaves": 7}, "count"),
    "catboost ranking": ({"loss_function": "YetiRank"}, "classes"),
    "catboost multi-target": ({"loss_function": "MultiRMSE"}, "value and count"),
}
SKLEARN: dict[str, tuple[str, dict[str, Any], str]] = {
    "sklearn random forest": ("ensemble:RandomForestClassifier", {"n_estimators": 5, "max_depth": 5}, "binary"),
    "sklearn boosting": ("ensemble:GradientBoostingRegressor", {"n_estimators": 5}, "value"),
    "sklearn exponential": (
        "ensemble:GradientBoostingClassifier",
        {"n_estimators": 5, "loss": "exponential"},
        "binary",
    ),
    "sklearn histogram": ("ensemble:HistGradientBoostingClassifier", {"max_iter": 4}, "classes"),
    "sklearn isolation forest": ("ensemble:IsolationForest", {"n_estimators": 5}, "binary"),
    "sklearn logistic regression": ("linear_model:LogisticRegression", {}, "binary"),
}


def _targets(given: Example, name: str) -> np.ndarray:
    if name == "value and count":
        return np.stack([given.value, given.count], axis=1)
    targets: np.ndarray = getattr(given, name)
    return targets


def _xgboost(name: str, given: Example, folder: Path) -> Case:
    import xgboost

    parameters, target = XGBOOST[name]
    categorical = name == "xgboost categorical"
    train, test = (given.train_categorical, given.test_categorical) if categorical else (given.train, given.test)
    kinds = ["c" if categorical and column in CATEGORICAL else "q" for column in range(FEATURES)]
    matrix = xgboost.DMatrix(train, _targets(given, target), feature_types=kinds, enable_categorical=True)
    if "rank" in parameters["objective"]:
        matrix.set_group([100] * 6)
    if parameters["objective"] == "survival:aft":
        matrix.set_float_info("label_lower_bound", given.count)
        matrix.set_float_info("label_upper_bound", given.count * 2)
    common = {"nthread": 1, "verbosity": 0}
    if parameters.get("booster") != "gblinear":
        common["max_depth"] = 4
    booster = xgboost.train({**common, **parameters}, matrix, 5)
    file = folder / f"{name}.ubj"
    booster.save_model(file)
    predicted = booster.predict(xgboost.DMatrix(test, feature_types=kinds, enable_categorical=True))
    return Case(file, test, predicted)


def _lightgbm(name: str, given: Example, folder: Path) -> Case:
    import lightgbm

    parameters, target = LIGHTGBM[name]
    categorical = name == "lightgbm categorical"
    train, test = (given.train_categorical, given.test_categorical) if categorical else (given.train, given.test)
    rows = lightgbm.Dataset(
        train,
        _targets(given, target),
        categorical_feature=list(CATEGORICAL) if categorical else [],
        group=[100] * 6 if parameters["objective"] == "lambdarank" else None,
    )
    common = {"num_threads": 1, "verbosity": -1, "num_leaves": 12, "min_data_in_leaf": 5}
    booster = lightgbm.train({**common, **parameters}, rows, 5)
    file = folder / f"{name}.txt"
    booster.save_model(file)
    return Case(file, test, np.asarray(booster.predict(test)))


def _catboost(name: str, given: Example, folder: Path) -> Case:
    import catboost

    parameters, target = CATBOOST[name]
    quiet = {"thread_count": 1, "verbose": 0, "allow_writing_files": False, "random_seed": 0}
    model = catboost.CatBoost({"iterations": 8, "depth": 4, **quiet, **parameters})
    groups = np.arange(600) // 100 if name == "catboost ranking" else None
    model.fit(catboost.Pool(given.train, _targets(given, target), group_id=groups))
    file = folder / f"{name}.{'json' if name == 'catboost binary' else 'cbm'}"
    model.save_model(str(file), format=file.suffix[1:])
    asked = {"binary": "Probability", "classes": "Probability", "count": "Exponent"}.get(target, "RawFormulaVal")
    predicted = model.predict(given.test, prediction_type="RawFormulaVal" if groups is not None else asked)
    return Case(file, given.test, predicted[:, 1] if target == "binary" else predicted)


def _sklearn(name: str, given: Example, folder: Path) -> Case:
    place, options, target = SKLEARN[name]
    module, _, kind = place.partition(":")
    estimator = getattr(import_module(f"sklearn.{module}"), kind)(**options)
    takes_gaps = kind.startswith(("RandomForest", "Hist"))
    train, test = (given.train, given.test) if takes_gaps else (np.nan_to_num(given.train), np.nan_to_num(given.test))
    estimator.fit(train, _targets(given, target))
    file = folder / f"{name}.pkl"
    file.write_bytes(pickle.dumps(estimator))
    if hasattr(estimator, "predict_proba"):
        predicted = estimator.predict_proba(test)
        return Case(file, test, predicted[:, 1] if predicted.shape[1] == 2 else predicted)
    method = estimator.decision_function if kind == "IsolationForest" else estimator.predict
    return Case(file, test, method(test))


def _onnx(name: str, given: Example, folder: Path) -> Case:
    import onnx
    import onnxruntime
    from onnx import helper

    file, test = folder / f"{name}.onnx", np.nan_to_num(given.test).astype(np.float32)
    if name == "onnx whole numbers":
        ids = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, (80, 4))
        return Case(file, ids, answers(hashed(file), {"ids": ids}))
    generator = np.random.default_rng(1)
    if name == "onnx network":
        weights = [generator.standard_normal(shape).astype(np.float32) for shape in ((FEATURES, 8), (8, 2))]
        nodes = [
            helper.make_node("MatMul", ["x", "w0"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("MatMul", ["b", "w1"], ["y"]),
        ]
        constants = [onnx.numpy_helper.from_array(each, f"w{nth}") for nth, each in enumerate(weights)]
        outputs = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 2])]
    else:
        nodes = [
            helper.make_node(
                "LinearClassifier",
                ["x"],
                ["label", "scores"],
                domain="ai.onnx.ml",
                classlabels_ints=[0, 1, 2],
                coefficients=generator.standard_normal(3 * FEATURES).tolist(),
                intercepts=[0.1, 0.2, 0.3],
                post_transform="SOFTMAX",
            ),
            helper.make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]),
        ]
        constants = []
        maps = helper.make_map_type_proto(onnx.TensorProto.INT64, helper.make_tensor_type_proto(1, []))
        outputs = [
            helper.make_tensor_value_info("label", onnx.TensorProto.INT64, [None]),
            helper.make_value_info("maps", helper.make_sequence_type_proto(maps)),
        ]
    rows = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, FEATURES])
    graph = helper.make_graph(nodes, "example", [rows], outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    file.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    predicted = session.run([outputs[-1].name], {"x": test})[0]
    if isinstance(predicted, list):
        predicted = np.array([[row[label] for label in (0, 1, 2)] for row in predicted], dtype=np.float32)
    return Case(file, test, predicted)


def _torch(name: str, given: Example, folder: Path) -> Case:
    import torch

    file, test = folder / f"{name}.pt", np.nan_to_num(given.test).astype(np.float32)
    generator = np.random.default_rng(1)
    module = torch.nn.Sequential(torch.nn.Linear(FEATURES, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    with torch.no_grad():
        for values in module.parameters():
            values.copy_(torch.from_numpy(generator.standard_normal(values.shape)))
        predicted = module(torch.from_numpy(test)).numpy()
    example = torch.from_numpy(test[:2])
    if name == "torch script":
        torch.jit.trace(module, example).save(str(file))
    else:
        free = ({0: torch.export.Dim.DYNAMIC},)
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=free), file)
    return Case(file, test, predicted)


_TRAINED_BY = {
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
    "sklearn": _sklearn,
    "onnx": _onnx,
    "torch": _torch,
}


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """The case of each name, trained when it is first asked for."""
    folder, given, known = tmp_path_factory.mktemp("models"), example(), dict[str, Case]()

    def case(name: str) -> Case:
        if name not in known:
            train = _TRAINED_BY[name.split()[0]]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what the libraries say while training does not matter here
                known[name] = train(name, given, folder)
        return known[name]

    return case


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder that these tests share, so that each model is opened once."""
    return tmp_path_factory.mktemp("home")


class OpenedModels(dict[str, Model]):
    """Every case's model, opened when it is first asked for, as a user's would be, but in this process."""

    def __init__(self, cases: Callable[[str], Case]) -> None:
        super().__init__()
        self._cases = cases

    def __missing__(self, name: str) -> Model:
        case = self._cases(name)
        with pytest.MonkeyPatch.context() as patch:
            call_all_here(patch)
            self[name] = Model.load(case.file, trust_pickle=True, sample=case.rows)
        return self[name]


@pytest.fixture(scope="session")
def models(cases: Callable[[str], Case]) -> dict[str, Model]:
    return OpenedModels(cases)


@pytest.fixture
def steps_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``Model.load`` and ``compile_model`` take their steps here. That they work in children is shown on a few
    models elsewhere."""
    call_all_here(monkeypatch)


@pytest.fixture(scope="session")
def artifacts(models: dict[str, Model], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Artifact]:
    """The artifact of a backend's name and a case, compiled when it is first asked for."""
    known: dict[tuple[str, str], Artifact] = {}

    def compiled(name: str, case: str) -> Artifact:
        if (name, case) not in known:
            known[name, case] = compile_here(name, models[case], tmp_path_factory.mktemp("artifact"))
        return known[name, case]

    return compiled


@pytest.fixture(scope="session")
def references(models: dict[str, Model]) -> Callable[[str], tuple[RowSet, np.ndarray]]:
    """Rows drawn from the model of a case, and what its library predicts for them."""
    known: dict[str, tuple[RowSet, np.ndarray]] = {}

    def reference(case: str) -> tuple[RowSet, np.ndarray]:
        if case not in known:
            drawn = drawn_rows(models[case])
            [predicted] = steps.predict_reference(models[case], [drawn.rows])
            known[case] = (drawn, predicted)
        return known[case]

    return reference


@pytest.fixture(scope="session")
def compile_again(models: dict[str, Model]) -> Callable[[str, str, Path], Artifact]:
    """Compile with the backend of this name the model of this case into this folder."""
    return lambda name, case, folder: compile_here(name, models[case], folder)


def compile_here(name: str, model: Model, folder: Path) -> Artifact:
    """Compile in this process: the child process that servefit uses would take most of the time of these tests."""
    facts = imported(name).compile(model, Target.CPU, folder)
    version = imported(name).probe().version
    assert version is not None
    return Artifact(
        backend=name,
        backend_version=version,
        model_digest=model.digest,
        target=Target.CPU,
        folder=folder,
        facts=facts,
    )


@pytest.fixture(autouse=True)
def home(session_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(session_home))
