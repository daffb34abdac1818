"""Finds out whether an artifact predicts what the reference predicts.

Two float32 runtimes never agree to the last bit: they add up the trees in different orders. What is tolerated has to
let that pass and stop everything else, and the right measure depends on what an output is:

- A sum of trees carries a rounding error in proportion to the sums on the way and to the number of trees. A sum near
  zero is the difference of larger parts, so the allowance is a share of the largest reference output, and the same for
  every row.
- A probability, or the exponential of a sum (counts, rates, hazards), is compared *relatively*: an error of the sum is
  a relative error of the result, however small the result. The size of the sum is told by the result's logarithm, so
  1e-8 is allowed more than 0.5 is. Any absolute tolerance would hide that a runtime flushes scores of 1e-5 to zero,
  as logistic transforms in float32 do.
- A tensor of a network is compared relatively, with an allowance on the scale of its own row. Its sizes are equal.
  Where the network itself makes much of little, some times as much is allowed as its own library's predictions change
  by when every number that goes in is off by one rounding: no runtime can do better. So is a rounding of one, or of the
  largest value that the tensor has in any row where that is less: a probability is often one minus another. What comes
  out of a sigmoid, and what a classifier without trees gives, is rounded as one is, however small it is.
- What a pipeline that ends in trees predicts is compared as a tensor, and where it is a sum, as a sum too.
- A class number must be equal.

The unit is the bound of float32 summation: half an epsilon for each tree (Higham, Accuracy and Stability of Numerical
Algorithms, section 4.2), 6e-5 for 1000 trees. Leaves that all push the same way come within a third of it: a library
rounds each addition the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.packing import PackedTensor, of_one_width
from servefit.backends.model.types import Task
from servefit.errors import OutputMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from servefit.backends.model import Model, Signature

TINY = 1e-30
"""Below this, results of an exponential in float32 lose their digits one by one, and any two are equal."""
TENSOR_TOLERANCE = 1e-4
"""For networks, as a share of the value, and of the largest value in the row."""

_ROUNDINGS = 8.0
"""Times what one rounding of the input does. By experiment: of a text detector of 150 layers, on rows of noise of 1 to
100 times its range, ONNX Runtime's optimised predictions differ by 0 to 1.1 times that."""

_MAX_ROUNDING_SHARE = 0.01
"""Of the largest value of a tensor: where a rounding does more, predictions say little, and what is wrong would not be
seen. Chosen."""

_SUM_TOLERANCE = 1e-5
"""For the trees at the end of a pipeline, whose number is not known here, as a share of the largest sum: that of 170
trees. A sum near zero is the difference of larger parts."""

SIGMOID_TOLERANCE = 2 * 2.9 * 2**-24
"""ONNX Runtime's Sigmoid of float32 is up to 2.8 * 2**-24 from the exact value, of four million from -30 to 30; the
reference and the backend may be on either side of it."""

CLASS_NUMBER_OBJECTIVES = frozenset({"multi:softmax", "binary:hinge"})
LOG_LINK_OBJECTIVES = frozenset(
    {"count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft", "poisson", "gamma", "tweedie"}
    | {"Poisson", "Tweedie"}  # of CatBoost
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The largest errors found on ``rows`` rows; relative ones where the reference is 1000 times what is allowed
    absolutely, because close to zero they say nothing about a sum. ``function_s`` are the seconds that each function of
    a script took for a request, by name: a script is timed, and not compared."""

    max_abs_error: float
    max_rel_error: float
    rows: int
    function_s: Mapping[str, float] = field(default_factory=dict)

    def __or__(self, other: Agreement) -> Agreement:
        """Return what was found on both sets of rows."""
        return Agreement(
            max_abs_error=max(self.max_abs_error, other.max_abs_error),
            max_rel_error=max(self.max_rel_error, other.max_rel_error),
            rows=self.rows + other.rows,
            function_s=other.function_s or self.function_s,
        )


def compare(
    model: Model,
    backend: str,
    expected: np.ndarray,
    got: np.ndarray,
    kinds: np.ndarray,
    *,
    nudged: np.ndarray | None = None,
    remedy: str | None = None,
) -> Agreement:
    """Compare predictions of the same rows, (n,) or (n, outputs); ``kinds`` names each row's origin, (n,) strings.
    ``nudged`` are the reference's predictions of the same rows, off by one rounding, or None. ``remedy`` is that of a
    difference.

    Raises OutputMismatch, naming the kinds of rows that are wrong. A different shape is wrong on all rows, and a NaN
    is wrong if the other side has a number. Packed predictions may have different widths.
    """
    if model.signature.output_sizes and expected.ndim == got.ndim == 2 and len(expected) == len(got):
        expected, got = of_one_width(expected, got)
        nudged = None if nudged is None else of_one_width(expected, nudged)[1]
    if got.shape != expected.shape:
        raise OutputMismatch(
            backend,
            max_abs_error=float("inf"),
            max_rel_error=float("inf"),
            rows_wrong=len(expected),
            rows=len(expected),
            where=f"output of shape {got.shape} instead of {expected.shape}",
            remedy=remedy,
        )
    # Most ensembles predict float32, and a float64 reference may exceed its range.
    with np.errstate(over="ignore"):
        of_trees = model.trees is not None and model.signature.output_datatype == "float32"
        datatype = np.float32 if of_trees else np.float64
        reference = expected.astype(datatype).astype(np.float64).reshape(len(expected), -1)
        candidate = got.astype(datatype).astype(np.float64).reshape(len(expected), -1)
    relative, absolute = _tolerances(model, reference)
    if nudged is not None and nudged.shape == expected.shape:
        with np.errstate(invalid="ignore"):
            moved = np.abs(nudged.astype(np.float64).reshape(reference.shape) - reference)
        sizes = len(model.signature.output_sizes)
        moved[:, :sizes] = reference[:, :sizes]
        allowed = _ROUNDINGS * _scales(model, np.nan_to_num(moved, nan=0, posinf=0, neginf=0))
        magnitude = np.abs(np.nan_to_num(reference, posinf=0, neginf=0))
        absolute = absolute + np.minimum(allowed, _MAX_ROUNDING_SHARE * _scales(model, magnitude, over_rows=True))
    with np.errstate(invalid="ignore"):
        error = np.abs(candidate - reference)
    error[(candidate == reference) | (np.isnan(candidate) & np.isnan(reference))] = 0
    error[np.isnan(error)] = np.inf
    magnitude = np.abs(np.nan_to_num(reference, posinf=0, neginf=0))
    wrong = (error > absolute + relative * magnitude).any(axis=1)
    large = magnitude > 1000 * absolute
    max_abs = float(error.max(initial=0))
    max_rel = float((error[large] / magnitude[large]).max(initial=0))
    if wrong.any():
        raise OutputMismatch(
            backend,
            max_abs_error=max_abs,
            max_rel_error=max_rel,
            rows_wrong=int(wrong.sum()),
            rows=len(expected),
            where=", ".join(dict.fromkeys(kinds[wrong].tolist())),
            remedy=remedy,
        )
    return Agreement(max_abs_error=max_abs, max_rel_error=max_rel, rows=len(expected))


def _tolerances(model: Model, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the relative and the absolute tolerance for every output, both (n, outputs)."""
    magnitude = np.abs(np.nan_to_num(reference, nan=0, posinf=0, neginf=0))
    zeros = np.zeros_like(magnitude)
    if "int" in model.signature.output_datatype:
        return zeros, zeros
    if model.trees is None:
        sigmoids = {output.name for output in model.signature.output_tensors if output.of_sigmoid}
        largest = np.minimum(1, _scales(model, magnitude, over_rows=True))
        # Probabilities of rows that are all of one class are one minus the others', however small they are.
        rounding = float(np.finfo(np.float32).eps) * (1 if model.signature.task.is_of_classes else largest)
        relative, absolute = zeros + TENSOR_TOLERANCE, TENSOR_TOLERANCE * _scales(model, magnitude) + rounding
        if model.ends_in_sum and model.signature.task is Task.REGRESSION:
            absolute += _SUM_TOLERANCE * _scales(model, magnitude, over_rows=True)
        for exact in (relative, absolute):
            exact[:, : len(model.signature.output_sizes)] = 0
            for tensor, rows, columns in output_blocks(model.signature, reference):
                if tensor is not None and not tensor.datatype.startswith("float"):
                    exact[rows, columns] = 0
                elif tensor is not None and tensor.name in sigmoids and exact is absolute:
                    exact[rows, columns] += SIGMOID_TOLERANCE
        return relative, absolute
    unit = float(np.finfo(np.float32).eps) / 2 * max(model.trees.trees, 100)
    if model.trees.objective in CLASS_NUMBER_OBJECTIVES:
        return zeros, zeros
    if model.trees.objective in LOG_LINK_OBJECTIVES or (
        model.signature.task.is_of_classes and model.trees.objective != "binary:logitraw"
    ):
        return unit * (1 + np.abs(np.log(np.maximum(magnitude, TINY)))), zeros + TINY
    return zeros + unit, zeros + unit * magnitude.max(initial=0)


def _scales(model: Model, magnitude: np.ndarray, *, over_rows: bool = False) -> np.ndarray:
    """Return the largest value of each row of each output tensor, or of all its rows together, at the places of its
    values; nothing is allowed of the sizes that a packed prediction begins with."""
    scales = np.zeros_like(magnitude)
    largest: dict[str | None, float] = {}
    blocks = [
        (None if tensor is None else tensor.name, rows, columns)
        for tensor, rows, columns in output_blocks(model.signature, magnitude)
    ]
    for name, rows, columns in blocks:
        block = magnitude[rows, columns]
        largest[name] = max(largest.get(name, 0.0), float(block.max(initial=0)))
        scales[rows, columns] = block.max(axis=1, keepdims=True, initial=0)
    if over_rows:
        for name, rows, columns in blocks:
            scales[rows, columns] = largest[name]
    return scales


def output_blocks(
    signature: Signature, predictions: np.ndarray
) -> Iterator[tuple[PackedTensor | None, np.ndarray | slice, slice]]:
    """Yield the rows and the columns of each output tensor, several times where rows differ in sizes; all of them, of
    no tensor, where the outputs are not known apart."""
    if not signature.output_sizes:
        for tensor in signature.output_tensors:
            yield tensor, slice(None), slice(tensor.start, tensor.stop)
        if not signature.output_tensors:
            yield None, slice(None), slice(None)
        return
    packing = signature.output_packing
    for rows, sizes in packing.groups(predictions):
        for place in packing.places(sizes):
            yield place.tensor, rows, slice(place.start, place.stop)
