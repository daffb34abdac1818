"""When two predictions count as the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from servefit.backends.checking.parity import SIGMOID_TOLERANCE, Agreement, compare
from servefit.backends.model import Format, Model, Signature, Task, TreeStructure
from servefit.backends.model.types import Output
from servefit.errors import OutputMismatch


def ensemble(task: Task, objective: str, trees: int = 1000) -> Model:
    return network(task, TreeStructure(trees=trees, nodes=1, max_depth=1, objective=objective, booster="gbtree"))


def network(task: Task = Task.TENSOR, trees: TreeStructure | None = None) -> Model:
    return Model(
        source="model",
        file=Path("model"),
        format=Format.ONNX,
        digest="",
        size_bytes=0,
        signature=Signature(task=task, features=1, outputs=1),
        trees=trees,
    )


BINARY = ensemble(Task.BINARY, "binary:logistic")
REGRESSION = ensemble(Task.REGRESSION, "reg:squarederror")


def agreement(model: Model, expected: list[float], got: list[float]) -> Agreement:
    return compare(model, "b", np.array(expected), np.array(got), np.full(len(expected), "payload rows"))


def test_rounding_of_small_probabilities_passes_and_is_reported() -> None:
    found = agreement(BINARY, [1e-5, 2e-8, 0.5], [1e-5 * (1 + 1e-5), 2e-8 * (1 + 4e-5), 0.5])
    assert found.rows == 3
    assert found.max_rel_error == pytest.approx(4e-5, rel=0.01)
    assert found.max_abs_error == pytest.approx(1e-10, rel=0.01)


@pytest.mark.parametrize(("expected", "got"), [(1e-5, 0.0), (1e-5, 1.01e-5), (2e-8, 0.0), (0.5, 0.5005), (0.0, 1e-5)])
def test_a_small_probability_that_is_off_by_a_percent_fails(expected: float, got: float) -> None:
    with pytest.raises(OutputMismatch) as raised:
        agreement(BINARY, [0.5, expected], [0.5, got])
    assert raised.value.rows_wrong == 1


def test_a_sum_near_zero_may_carry_the_rounding_of_larger_ones() -> None:
    found = agreement(REGRESSION, [100.0, 1e-6], [100.0, 5e-5])
    assert found.max_abs_error == pytest.approx(4.9e-5, rel=1e-3)
    assert found.max_rel_error == 0


def test_a_sum_that_is_off_by_a_leaf_fails() -> None:
    with pytest.raises(OutputMismatch):
        agreement(REGRESSION, [100.0, 1.0], [100.0, 1.1])


def test_counts_are_compared_relatively() -> None:
    poisson = ensemble(Task.REGRESSION, "count:poisson")
    with pytest.raises(OutputMismatch):
        agreement(poisson, [1000.0, 1e-3], [1000.0, 1.1e-3])


def test_class_numbers_must_be_equal() -> None:
    softmax = ensemble(Task.MULTICLASS, "multi:softmax")
    assert agreement(softmax, [2.0, 0.0], [2.0, 0.0]).max_abs_error == 0
    with pytest.raises(OutputMismatch):
        agreement(softmax, [2.0, 0.0], [2.0, 1.0])


def test_a_row_of_a_tensor_is_compared_on_its_own_scale() -> None:
    expected = np.array([[1e6, 1.0], [1.0, 1e-3]])
    kinds = np.full(2, "payload rows")
    assert compare(network(), "b", expected, expected + np.array([[1, 0], [0, 5e-5]]), kinds).rows == 2
    with pytest.raises(OutputMismatch) as raised:
        compare(network(), "b", expected, expected + np.array([[0, 0], [0, 1e-3]]), kinds)
    assert raised.value.rows_wrong == 1


def test_a_network_that_makes_much_of_little_may_differ_by_some_times_what_a_rounding_does() -> None:
    expected, nudged = np.array([[1.0, 0.5], [1.0, 0.5]]), np.array([[1.0, 0.501], [1.0, 0.5]])
    kinds = np.array(["sensitive rows", "others"])
    assert compare(network(), "b", expected, expected + np.array([[0, 7e-3], [0, 0]]), kinds, nudged=nudged).rows == 2
    for wrong in ([[0, 9e-3], [0, 0]], [[0, 0], [0, 7e-3]]):
        with pytest.raises(OutputMismatch) as raised:
            compare(network(), "b", expected, expected + np.array(wrong), kinds, nudged=nudged)
        assert raised.value.rows_wrong == 1


def test_a_value_of_a_tensor_may_be_off_by_a_share_of_itself_and_of_its_row() -> None:
    expected, kinds = np.array([[1.0, 0.5]]), np.full(1, "payload rows")
    assert compare(network(), "b", expected, expected + np.array([[1.9e-4, 1.4e-4]]), kinds).rows == 1
    for wrong in ([[2.1e-4, 0]], [[0, 1.6e-4]]):
        with pytest.raises(OutputMismatch):
            compare(network(), "b", expected, expected + np.array(wrong), kinds)


def test_large_values_do_not_make_a_rounding_larger_than_that_of_one() -> None:
    expected, kinds = np.array([[10.0], [1e-8]]), np.full(2, "payload rows")
    with pytest.raises(OutputMismatch):
        compare(network(), "b", expected, expected + np.array([[0], [2e-7]]), kinds)


def test_a_probability_may_be_off_by_a_rounding_of_one() -> None:
    expected, kinds = np.array([[1.0], [1e-8]]), np.full(2, "payload rows")
    assert compare(network(), "b", expected, expected + 1e-7 * np.array([[0], [1]]), kinds).rows == 2
    small = np.array([[1e-8], [1e-8]])
    with pytest.raises(OutputMismatch):
        compare(network(), "b", small, small + 1e-7 * np.array([[0], [1]]), kinds)


def test_small_probabilities_of_a_classifier_without_trees_may_be_off_by_a_rounding_of_one() -> None:
    """As where all rows are far on one side of what separates the classes."""
    for task in (Task.BINARY, Task.MULTICLASS):
        assert agreement(network(task), [1.5e-13, 1e-20], [0, 0]).max_abs_error == pytest.approx(1.5e-13)
        with pytest.raises(OutputMismatch):
            agreement(network(task), [1e-6, 1e-20], [0, 0])
    with pytest.raises(OutputMismatch):
        agreement(network(), [1.5e-13, 1e-20], [0, 0])


def test_infinity_is_wrong_where_an_estimator_predicts_a_number_beyond_float32() -> None:
    with pytest.raises(OutputMismatch):
        agreement(network(Task.REGRESSION), [1.0, -5e96], [1.0, float("-inf")])


PACKED = replace(
    network(),
    signature=Signature(
        task=Task.TENSOR,
        features=2,
        outputs=3,
        output_tensors=(
            Output(name="states", datatype="float32", shape=("states.1",), start=1, stop=2),
            Output(name="norm", datatype="float32", shape=(), start=2, stop=3),
        ),
        output_sizes=("states.1",),
    ),
)


def test_a_small_value_of_a_sigmoid_may_be_off_by_what_onnx_runtime_computes_it_to() -> None:
    def outputs(*, of_sigmoid: bool) -> Model:
        output = Output(name="text", datatype="float32", shape=(), start=0, stop=1, of_sigmoid=of_sigmoid)
        plain = network()
        return replace(plain, signature=replace(plain.signature, output_tensors=(output,)))

    small = [3e-6, 1e-6]
    off = [3e-6 + 9e-8, 1e-6]
    assert agreement(outputs(of_sigmoid=True), small, off).max_abs_error == pytest.approx(9e-8, rel=0.01)
    with pytest.raises(OutputMismatch):
        agreement(outputs(of_sigmoid=False), small, off)
    with pytest.raises(OutputMismatch):
        agreement(outputs(of_sigmoid=True), small, [3e-6 + 5e-7, 1e-6])


def test_the_sigmoid_of_onnx_runtime_is_as_near_as_the_tolerance_says() -> None:
    sizes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "sigmoid", sizes[:1], sizes[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.linspace(-30, 30, 400_001).astype(np.float32)
    [y] = session.run(None, {"x": x})
    assert 2 * np.abs(y - 1 / (1 + np.exp(-x.astype(np.float64)))).max() <= SIGMOID_TOLERANCE


def test_each_output_of_a_packed_prediction_is_compared_on_its_own_scale() -> None:
    expected, kinds = np.array([[1, 100.0, 0.01, 0], [2, 1.0, 100.0, 0.01]]), np.full(2, "payload rows")
    assert compare(PACKED, "b", expected, expected + np.array([[0, 5e-3, 0, 0], [0, 0, 5e-3, 0]]), kinds).rows == 2
    for row, column in ((0, 2), (1, 3)):
        wrong = expected.copy()
        wrong[row, column] += 5e-3
        with pytest.raises(OutputMismatch) as raised:
            compare(PACKED, "b", expected, wrong, kinds)
        assert raised.value.rows_wrong == 1


def test_predictions_of_other_sizes_are_wrong_and_of_another_width_are_not() -> None:
    expected, kinds = np.array([[2, 1.0, 2.0, 3.0]]), np.full(1, "payload rows")
    assert compare(PACKED, "b", expected, np.array([[2, 1.0, 2.0, 3.0, 0, 0]]), kinds).rows == 1
    with pytest.raises(OutputMismatch):
        compare(PACKED, "b", expected, np.array([[1, 1.0, 2.0, 3.0]]), kinds)


def test_a_rounding_excuses_a_hundredth_of_the_largest_value_at_most() -> None:
    expected, nudged = np.array([[0.4], [1.0]]), np.array([[0.9], [0.2]])
    kinds = np.full(2, "payload rows")
    assert compare(network(), "b", expected, expected + np.array([[9e-3], [0]]), kinds, nudged=nudged).rows == 2
    with pytest.raises(OutputMismatch):
        compare(network(), "b", expected, 1 - expected, kinds, nudged=nudged)


def test_class_numbers_beside_scores_must_be_equal() -> None:
    tensors = (
        Output(name="label", datatype="int64", shape=(), start=0, stop=1),
        Output(name="score", datatype="float32", shape=(), start=1, stop=2),
    )
    model = replace(network(), signature=replace(network().signature, output_tensors=tensors))
    expected, kinds = np.array([[30_000, 0.5]]), np.full(1, "payload rows")
    assert compare(model, "b", expected, expected + np.array([[0, 1e-6]]), kinds).rows == 1
    with pytest.raises(OutputMismatch):
        compare(model, "b", expected, expected + np.array([[1, 0]]), kinds)


@pytest.mark.parametrize("got", [float("nan"), float("inf")])
def test_no_number_where_the_reference_has_one_fails(got: float) -> None:
    with pytest.raises(OutputMismatch) as raised:
        agreement(BINARY, [0.5, 0.5], [0.5, got])
    assert raised.value.max_abs_error == float("inf")


def test_a_number_where_the_reference_has_none_fails() -> None:
    with pytest.raises(OutputMismatch):
        agreement(REGRESSION, [1.0, float("nan")], [1.0, 0.0])


def test_the_same_infinities_and_gaps_agree() -> None:
    odd = [1.0, float("nan"), float("inf"), float("-inf"), 1e300]
    assert agreement(REGRESSION, odd, [*odd[:4], float("inf")]).max_abs_error == 0


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("model", [REGRESSION, network()])
def test_infinities_and_gaps_allow_other_rows_nothing(model: Model, odd: float) -> None:
    assert agreement(model, [odd, 1e-3], [odd, 1e-3]).max_rel_error == 0
    with pytest.raises(OutputMismatch) as raised:
        agreement(model, [odd, 1e-3], [odd, 1.05e-3])
    assert raised.value.rows_wrong == 1
    assert raised.value.max_abs_error == pytest.approx(5e-5, rel=1e-3)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_a_number_where_the_reference_has_none_is_infinitely_off_and_has_no_relative_error(odd: float) -> None:
    with pytest.raises(OutputMismatch) as raised:
        agreement(REGRESSION, [1.0, odd], [1.0, 2.0])
    assert (raised.value.max_abs_error, raised.value.max_rel_error) == (float("inf"), 0)


def test_a_relative_error_is_told_of_what_is_a_thousand_times_what_is_allowed() -> None:
    # Of sums of 1000 trees up to 100, 0.00596 are.
    assert agreement(REGRESSION, [100.0, 5.957], [100.0, 5.957 + 1e-5]).max_rel_error == 0
    assert agreement(REGRESSION, [100.0, 5.963], [100.0, 5.963 + 1e-5]).max_rel_error == pytest.approx(1.7e-6, rel=0.1)


def test_a_probability_may_be_off_by_the_roundings_of_its_trees_and_of_its_logarithm() -> None:
    assert agreement(BINARY, [0.5], [0.5 * (1 + 9e-5)]).max_rel_error == pytest.approx(9e-5, rel=0.01)
    with pytest.raises(OutputMismatch):
        agreement(BINARY, [0.5], [0.5 * (1 + 1.1e-4)])
    assert agreement(BINARY, [1e-31], [0.0]).rows == 1


@pytest.mark.parametrize("got", [np.zeros((2, 2)), np.array([1.0, 9.0])])
def test_a_difference_is_told_with_the_remedy(got: np.ndarray) -> None:
    with pytest.raises(OutputMismatch) as raised:
        compare(REGRESSION, "b", np.array([1.0, 2.0]), got, np.full(2, "payload rows"), remedy="leave it out")
    assert raised.value.remedy == "leave it out"


def test_a_sum_may_be_off_by_a_share_of_itself_and_of_the_largest() -> None:
    # 1000 trees: half an epsilon each, 6e-5
    assert agreement(REGRESSION, [100.0, 1.0], [100.0118, 1.0]).max_abs_error == pytest.approx(0.0118, rel=1e-3)
    with pytest.raises(OutputMismatch):
        agreement(REGRESSION, [100.0, 1.0], [100.0122, 1.0])
    with pytest.raises(OutputMismatch):
        agreement(REGRESSION, [100.0, 1.0], [100.0, 1.0062])


@pytest.mark.parametrize("trees", [1, 100])
def test_few_trees_may_be_off_by_as_many_roundings_as_a_hundred(trees: int) -> None:
    rounding = float(np.finfo(np.float32).eps)
    few = ensemble(Task.REGRESSION, "reg:squarederror", trees)
    assert agreement(few, [1.0], [1 + 100 * rounding]).max_abs_error == 100 * rounding
    with pytest.raises(OutputMismatch):
        agreement(few, [1.0], [1 + 101 * rounding])


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_a_rounding_that_makes_no_number_excuses_nothing(odd: float) -> None:
    expected, nudged = np.array([[1.0, odd], [1.0, 0.5]]), np.array([[odd, odd], [1.0, 0.501]])
    kinds = np.full(2, "payload rows")
    sensitive, other = np.array([[0, 0], [0, 7e-3]]), np.array([[7e-3, 0], [0, 0]])
    assert compare(network(), "b", expected, expected + sensitive, kinds, nudged=nudged).rows == 2
    with pytest.raises(OutputMismatch):
        compare(network(), "b", expected, expected + other, kinds, nudged=nudged)


@pytest.mark.parametrize("odd", [float("inf"), float("-inf")])
def test_no_infinity_is_the_largest_value_that_a_rounding_excuses_a_part_of(odd: float) -> None:
    expected, nudged = np.array([[odd], [1e-3]]), np.array([[odd], [0.5]])
    with pytest.raises(OutputMismatch):
        compare(network(), "b", expected, np.array([[odd], [2e-3]]), np.full(2, "payload rows"), nudged=nudged)


def test_a_rounding_excuses_packed_predictions_too() -> None:
    expected, nudged = np.array([[1, 1.0, 0.5, 0]]), np.array([[1, 1.0, 0.501]])
    kinds = np.full(1, "payload rows")
    assert compare(PACKED, "b", expected, np.array([[1, 1.0, 0.505]]), kinds, nudged=nudged).rows == 1
    with pytest.raises(OutputMismatch):
        compare(PACKED, "b", expected, np.array([[1, 1.005, 0.5]]), kinds, nudged=nudged)


def test_small_sums_may_be_off_by_no_more_than_a_share_of_the_largest_of_them() -> None:
    with pytest.raises(OutputMismatch):
        agreement(REGRESSION, [1e-3, 5e-4], [1e-3, 5e-4 + 1e-6])


def test_zeros_agree_and_have_no_relative_error() -> None:
    for model in (REGRESSION, BINARY, network()):
        assert agreement(model, [0.0, 0.0], [0.0, 0.0]) == Agreement(max_abs_error=0, max_rel_error=0, rows=2)


def test_another_shape_fails_on_every_row() -> None:
    with pytest.raises(OutputMismatch, match=r"shape \(3, 2\) instead of \(3,\)") as raised:
        compare(BINARY, "b", np.zeros(3), np.zeros((3, 2)), np.full(3, "payload rows"))
    assert raised.value.rows_wrong == raised.value.rows == 3


def test_a_mismatch_names_the_kinds_of_rows_that_are_wrong() -> None:
    with pytest.raises(OutputMismatch) as raised:
        compare(BINARY, "b", np.full(3, 0.5), np.array([0.5, 0.6, 0.5]), np.array(["payload", "drawn", "odd"]))
    assert raised.value.where == "drawn"
    assert raised.value.max_abs_error == pytest.approx(0.1, rel=1e-5)


def test_two_agreements_join_to_the_larger_errors() -> None:
    first = Agreement(max_abs_error=1, max_rel_error=4, rows=10)
    second = Agreement(max_abs_error=2, max_rel_error=3, rows=5)
    assert first | second == Agreement(max_abs_error=2, max_rel_error=4, rows=15)


def test_what_functions_took_is_that_of_the_rows_that_they_were_timed_on() -> None:
    timed = Agreement(max_abs_error=0, max_rel_error=0, rows=1, function_s={"predict": 0.5})
    plain = Agreement(max_abs_error=0, max_rel_error=0, rows=1)
    assert (timed | plain).function_s == (plain | timed).function_s == {"predict": 0.5}
