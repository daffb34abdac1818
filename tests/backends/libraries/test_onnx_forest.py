"""ONNX models that are one ensemble of trees: their trees predict what ONNX Runtime predicts, or are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.column_pipelines import predictor
from tests.onnx_models import FLOAT, INT64, node, save

from servefit.backends.checking.parity import compare
from servefit.backends.finding.capabilities import backend
from servefit.backends.inspection import inspect
from servefit.backends.model import Format, Model
from servefit.backends.payload.rows import parity_rows
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

FEATURES = 3
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")


@dataclass(frozen=True)
class Drawn:
    """Trees as lists of nodes: inner ones (feature, mode, threshold, true, false, tracks), and leaves {output:
    weight}."""

    trees: list[list[Any]]
    outputs: int


def drawn(outputs: int, *, per_leaf: int = 1, positive: bool = False, seed: int = 0, only: int | None = None) -> Drawn:
    draw = np.random.default_rng(seed)

    def leaf() -> dict[int, float]:
        chosen = [only] if only is not None else draw.choice(outputs, per_leaf, replace=False).tolist()
        weights = draw.random(per_leaf) if positive else draw.standard_normal(per_leaf)
        return {output: float(np.float32(weight / 8)) for output, weight in zip(chosen, weights, strict=True)}

    trees = []
    for _ in range(7):
        nodes: list[Any] = [None]
        waiting = [(0, 0)]
        while waiting:
            number, depth = waiting.pop()
            if depth == 4 or (depth and draw.random() < 0.2):
                nodes[number] = leaf()
                continue
            true, false = len(nodes), len(nodes) + 1
            nodes += [None, None]
            waiting += [(true, depth + 1), (false, depth + 1)]
            threshold = float(np.float32(np.round(draw.standard_normal(), 1)))
            nodes[number] = (
                int(draw.integers(FEATURES)),
                int(draw.integers(4)),
                threshold,
                true,
                false,
                int(draw.integers(2)),
            )
        trees.append(nodes)
    return Drawn(trees, outputs)


def of_version_1(drawn: Drawn, kind: str, **more: Any) -> dict[str, Any]:
    rows = [(tree, number, entry) for tree, nodes in enumerate(drawn.trees) for number, entry in enumerate(nodes)]
    inner = [
        (*entry, MODES[entry[1]]) if isinstance(entry, tuple) else (0, 0, 0.0, 0, 0, 0, "LEAF") for *_, entry in rows
    ]
    weights = [
        (tree, number, *pair) for tree, number, entry in rows if isinstance(entry, dict) for pair in entry.items()
    ]
    columns = list(zip(*inner, strict=True))
    return {
        "nodes_treeids": [tree for tree, *_ in rows],
        "nodes_nodeids": [number for _, number, _ in rows],
        **dict(
            zip(
                ("nodes_featureids", "", "nodes_values", "nodes_truenodeids", "nodes_falsenodeids"),
                map(list, columns[:5]),
                strict=True,
            )
        ),
        "nodes_missing_value_tracks_true": list(columns[5]),
        "nodes_modes": list(columns[6]),
        **{
            f"{kind}_{name}": list(column)
            for name, column in zip(("treeids", "nodeids", "ids", "weights"), zip(*weights, strict=True), strict=True)
        },
        **more,
    }


def classifier(path: Path, drawn: Drawn, transform: str) -> Path:
    attributes = of_version_1(drawn, "class", classlabels_int64s=list(range(drawn.outputs)), post_transform=transform)
    attributes.pop("")
    ensemble = node("TreeEnsembleClassifier", ["x"], ["label", "scores"], "ai.onnx.ml", **attributes)
    return save(path, {"x": (FLOAT, [None, FEATURES])}, [ensemble], {"label": INT64, "scores": FLOAT})


def regressor(path: Path, drawn: Drawn, transform: str = "NONE", *after: Any, **more: Any) -> Path:
    attributes = of_version_1(drawn, "target", n_targets=drawn.outputs, post_transform=transform, **more)
    attributes.pop("")
    ensemble = node("TreeEnsembleRegressor", ["x"], ["y"], "ai.onnx.ml", **attributes)
    return save(path, {"x": (FLOAT, [None, FEATURES])}, [ensemble, *after], {"z" if after else "y": FLOAT})


def of_version_5(path: Path, drawn: Drawn, transform: int = 0, aggregate: int = 1) -> Path:
    from onnx import TensorProto
    from onnx.helper import make_tensor

    columns: dict[str, list[Any]] = {name: [] for name in ("featureids", "modes", "splits", "tracks", "true", "false")}
    sides: dict[str, list[int]] = {"true": [], "false": []}
    leaves: list[tuple[int, float]] = []
    roots = []
    for nodes in drawn.trees:
        place: dict[int, int] = {}
        for number, entry in enumerate(nodes):
            if isinstance(entry, dict):
                [(output, weight)] = entry.items()
                leaves.append((output, weight))
                place[number] = -len(leaves)
        begin = len(columns["modes"])
        inner = [number for number, entry in enumerate(nodes) if isinstance(entry, tuple)]
        place |= {number: begin + nth for nth, number in enumerate(inner)}
        roots.append(begin)
        for number in inner:
            feature, mode, threshold, true, false, tracks = nodes[number]
            for name, value in (("featureids", feature), ("modes", mode), ("splits", threshold), ("tracks", tracks)):
                columns[name].append(value)
            for side, child in (("true", true), ("false", false)):
                is_leaf = isinstance(nodes[child], dict)
                sides[side].append(int(is_leaf))
                columns[side].append(-place[child] - 1 if is_leaf else place[child])
    ensemble = node(
        "TreeEnsemble",
        ["x"],
        ["y"],
        "ai.onnx.ml",
        tree_roots=roots,
        nodes_featureids=columns["featureids"],
        nodes_modes=make_tensor("modes", TensorProto.UINT8, [len(columns["modes"])], columns["modes"]),
        nodes_splits=make_tensor("splits", TensorProto.FLOAT, [len(columns["splits"])], columns["splits"]),
        nodes_missing_value_tracks_true=columns["tracks"],
        nodes_truenodeids=columns["true"],
        nodes_trueleafs=sides["true"],
        nodes_falsenodeids=columns["false"],
        nodes_falseleafs=sides["false"],
        leaf_targetids=[output for output, _ in leaves],
        leaf_weights=make_tensor("weights", TensorProto.FLOAT, [len(leaves)], [weight for _, weight in leaves]),
        n_targets=drawn.outputs,
        post_transform=transform,
        aggregate_function=aggregate,
    )
    return save(path, {"x": (FLOAT, [None, FEATURES])}, [ensemble], {"y": FLOAT}, onnx_ml=5)


def opened(path: Path) -> Model:
    inspection = inspect(path, Format.ONNX, path.parent)
    return Model(
        source=str(path),
        file=path,
        format=Format.ONNX,
        digest="",
        size_bytes=1,
        signature=inspection.signature,
        trees=inspection.trees,
    )


MODELS = {
    "two classes": lambda path: classifier(path, drawn(2), "NONE"),
    "two classes, shares": lambda path: classifier(path, drawn(2, per_leaf=2, positive=True), "NONE"),
    "two classes, exponents": lambda path: classifier(path, drawn(2, per_leaf=2), "SOFTMAX"),
    "one class of two": lambda path: classifier(path, drawn(2, only=1), "LOGISTIC"),
    "one class of two, shares": lambda path: classifier(path, drawn(2, only=1, positive=True), "NONE"),
    "one class of two, shares that are not transformed": lambda path: classifier(
        path, drawn(2, only=1, positive=True), "LOGISTIC"
    ),
    "three classes": lambda path: classifier(path, drawn(3), "SOFTMAX"),
    "three classes, each": lambda path: classifier(path, drawn(3, per_leaf=3), "LOGISTIC"),
    "a number": lambda path: regressor(path, drawn(1), base_values=[0.5]),
    "a share": lambda path: regressor(path, drawn(1), "LOGISTIC"),
    "a mean": lambda path: regressor(path, drawn(1), aggregate_function="AVERAGE"),
    "two numbers": lambda path: regressor(path, drawn(2, per_leaf=2)),
    "a number of version 5": lambda path: of_version_5(path, drawn(1)),
    "a share of version 5": lambda path: of_version_5(path, drawn(1), transform=2),
    "a mean of version 5": lambda path: of_version_5(path, drawn(1), aggregate=0),
    "two numbers of version 5": lambda path: of_version_5(path, drawn(2)),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("by", ["forest", "treelite"])
def test_trees_predict_what_onnx_runtime_does(name: str, by: str, tmp_path: Path) -> None:
    model = opened(MODELS[name](tmp_path / "model.onnx"))
    assert backend(by).supports(model).available
    rows = model.signature.as_rows(parity_rows(model, count=400))
    rows[::9, 1] = np.nan
    expected = predictor(model, "onnxruntime").predict(rows)
    compare(model, by, expected, predictor(model, by).predict(rows), np.full(len(rows), "drawn"))


def test_a_model_with_other_operators_is_refused_by_name(tmp_path: Path) -> None:
    model = opened(regressor(tmp_path / "model.onnx", drawn(1), "NONE", node("Exp", ["y"], ["z"])))
    supported = backend("forest").supports(model)
    assert not supported.available
    assert "this one has other operators" in str(supported.reason)


@pytest.mark.parametrize(
    ("outputs", "options", "reason"),
    [
        (1, {"aggregate_function": "MAX"}, "NONE and MAX"),
        (1, {"transform": "PROBIT"}, "PROBIT and SUM"),
        (2, {"base_values": [0.5, -1.0]}, "base values for several outputs"),
        (2, {"transform": "SOFTMAX"}, "several outputs with SOFTMAX"),
        (2, {"aggregate_function": "AVERAGE"}, "NONE and AVERAGE"),
    ],
)
def test_what_trees_cannot_be_asked_for_is_a_compilation_that_failed(
    outputs: int, options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    model = opened(regressor(tmp_path / "model.onnx", drawn(outputs, positive=True), **options))
    with pytest.raises(CompileFailed, match=reason):
        predictor(model, "forest")


def test_a_model_that_catboost_wrote_is_predicted_by_the_forest(tmp_path: Path) -> None:
    from catboost import CatBoostClassifier

    rows = np.random.default_rng(0).standard_normal((200, FEATURES)).astype(np.float32)
    estimator = CatBoostClassifier(iterations=20, verbose=0, allow_writing_files=False)
    estimator.fit(rows, (rows[:, 0] > 0).astype(int))
    path = tmp_path / "model.onnx"
    estimator.save_model(str(path), format="onnx")
    model = opened(path)
    np.testing.assert_allclose(
        predictor(model, "forest").predict(rows), estimator.predict_proba(rows)[:, 1], rtol=1e-5, atol=1e-6
    )
