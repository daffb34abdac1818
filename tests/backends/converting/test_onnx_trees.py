"""The conversion of trees to ONNX: exact on thresholds, and on small probabilities."""

from __future__ import annotations

from time import thread_time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.backends.checking.parity import compare
from servefit.backends.converting.onnx_trees import onnx_model
from servefit.backends.libraries.trees import read_trees
from servefit.errors import OutputMismatch

if TYPE_CHECKING:
    from servefit.backends.model import Model


def run(proto: Any, rows: np.ndarray) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    predictions: np.ndarray = session.run(None, {"rows": rows})[0]
    return predictions


def stump(threshold: float, operator: str, dtype: str) -> Any:
    """A Treelite model of one split: 1 where column 0 compares with ``threshold``, else 0; gaps go right."""
    from treelite.model_builder import Metadata, ModelBuilder, PostProcessorFunc, TreeAnnotation

    builder = ModelBuilder(
        threshold_type=dtype,
        leaf_output_type=dtype,
        metadata=Metadata(
            num_feature=1,
            task_type="kRegressor",
            average_tree_output=False,
            num_target=1,
            num_class=[1],
            leaf_vector_shape=(1, 1),
        ),
        tree_annotation=TreeAnnotation(num_tree=1, target_id=[0], class_id=[0]),
        postprocessor=PostProcessorFunc(name="identity"),
        base_scores=[0.0],
    )
    builder.start_tree()
    builder.start_node(0)
    builder.numerical_test(
        feature_id=0, threshold=threshold, default_left=False, opname=operator, left_child_key=1, right_child_key=2
    )
    builder.end_node()
    for key, value in ((1, 1.0), (2, 0.0)):
        builder.start_node(key)
        builder.leaf(value)
        builder.end_node()
    builder.end_tree()
    return builder.commit()


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("threshold", [0.1, -0.1, 0.5, 1 / 3, 1e-35, 1e300, -1e300, 1e-46, -1e-46, 0.0])
def test_a_float64_threshold_decides_alike_for_the_float32_values_around_it(threshold: float, operator: str) -> None:
    with np.errstate(over="ignore"):
        nearest = np.float32(threshold)
    around = [nearest, np.nextafter(nearest, np.float32(-np.inf)), np.nextafter(nearest, np.float32(np.inf)), 0, -0.0]
    rows = np.array([[value] for value in around if np.isfinite(value)] + [[np.nan]], dtype=np.float32)
    values = rows[:, 0].astype(np.float64)
    expected = {
        "<": values < threshold,
        "<=": values <= threshold,
        ">": values > threshold,
        ">=": values >= threshold,
    }[operator]
    proto = onnx_model(stump(threshold, operator, "float64"), column=None, outlier_offset=None)
    np.testing.assert_array_equal(run(proto, rows)[:, 0], expected.astype(np.float32))


@pytest.mark.integration
def test_small_probabilities_keep_their_digits_and_the_sigmoid_operator_would_not(
    model: Model, booster: Any, training_rows: np.ndarray
) -> None:
    import onnx
    import xgboost

    expected, kinds = booster.predict(xgboost.DMatrix(training_rows)), np.full(len(training_rows), "rows")
    assert expected.min() < 1e-7
    proto = onnx_model(read_trees(model, "onnxruntime"), column=None, outlier_offset=None)
    assert compare(model, "onnxruntime", expected, run(proto, training_rows)[:, 0], kinds).max_rel_error < 1e-4

    del proto.graph.node[1:], proto.graph.initializer[:]
    proto.graph.node.append(onnx.helper.make_node("Sigmoid", ["margins"], ["predictions"]))
    logistic = run(proto, training_rows)[:, 0]
    assert np.abs(logistic - expected).max() < 1e-5, "it looks fine absolutely"
    with pytest.raises(OutputMismatch) as raised:
        compare(model, "onnxruntime", expected, logistic, kinds)
    assert raised.value.max_rel_error > 0.1


def test_an_ensemble_of_fifty_thousand_nodes_is_converted_in_seconds() -> None:
    import treelite
    import xgboost

    rows = np.random.default_rng(0).standard_normal((4000, 4)).astype(np.float32)
    parameters = {"max_depth": 8, "min_child_weight": 0, "nthread": 1, "num_parallel_tree": 150, "eta": 0.1}
    forest = xgboost.train(parameters, xgboost.DMatrix(rows, rows.sum(axis=1)), 1)
    trees = treelite.frontend.from_xgboost(forest)
    begin = thread_time()
    proto = onnx_model(trees, column=None, outlier_offset=None)
    assert thread_time() - begin < 5
    assert sum(len(each.ints) for each in proto.graph.node[0].attribute if each.name == "nodes_nodeids") > 50_000
