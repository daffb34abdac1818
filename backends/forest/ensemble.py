"""A tree ensemble in one form, whatever library it comes from: from Treelite's trees, as flat arrays.

Every numerical test becomes "is the value's key above the node's bound": keys are whole numbers in the order of the
values, int32 for float32 rows and int64 for float64 rows. So <, <=, > and >= are the same to the kernel, and no value
of the rows' datatype decides otherwise than before. Every categorical test becomes a set of categories that go right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.trees import TreeOutputs
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import treelite

_LEAF, _CATEGORICAL = 0, 2  # Treelite's node types
_EQUAL, _LESS, _GREATER, _GREATER_OR_EQUAL = 1, 2, 4, 5  # Treelite's comparison operators
_MAX_DEPTH = 62  # a node this deep is reached by one row in 2**62, if rows part evenly


@dataclass(frozen=True, slots=True, kw_only=True)
class CategorySet:
    """The set of a test on the category ``feature``. Unlisted categories, and what is none, go where the listed ones do
    not go."""

    feature: int
    categories: tuple[int, ...]
    listed_right: bool
    missing_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """The trees of a model. Arrays without another shape have one entry a node, the trees one after the other.

    ``left`` and ``right`` are node numbers, -1 at leaves, as ``leaf`` is at all others. ``category_set`` is a place in
    ``sets``, -1 at numerical tests, whose ``bound`` the key has to be above to go right. ``missing_zero`` is true where
    all tests of the feature send a missing value where they send a zero. ``leaf_values`` is
    (leaves, width) float32, where a width of 1 adds to the output of the tree and any other to all outputs.
    ``wide_values`` says that rows are float64.
    """

    features: int
    wide_values: bool
    outputs: int
    roots: np.ndarray  # (trees,)
    output: np.ndarray  # (trees,)
    tree: np.ndarray
    depth: np.ndarray
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    bound: np.ndarray
    missing_right: np.ndarray
    missing_zero: np.ndarray
    category_set: np.ndarray
    leaf: np.ndarray
    leaf_values: np.ndarray
    leaf_share: np.ndarray  # (leaves,): of the rows, as the model says or, where it does not, if rows part evenly
    sets: tuple[CategorySet, ...]
    scale: np.ndarray  # (outputs,): what sums of leaves are multiplied with

    @property
    def is_leaf(self) -> np.ndarray:
        result: np.ndarray = self.leaf >= 0
        return result

    def categories(self) -> dict[int, tuple[int, ...]]:
        """Return the categories that tests name, in ascending order, by feature."""
        named: dict[int, set[int]] = {}
        for category_set in self.sets:
            named.setdefault(category_set.feature, set()).update(category_set.categories)
        return {feature: tuple(sorted(categories)) for feature, categories in named.items()}


def read_ensemble(trees: treelite.Model, *, column: int | None, wide_values: bool) -> Ensemble:
    """Return the ensemble of ``trees`` for rows of float32, or of float64 where ``wide_values``; with ``column``, of
    that output alone. Raises CompileFailed for a test on equality, and for leaves that float32 does not hold."""
    outputs = TreeOutputs(trees)
    parts = [_Tree(trees.get_tree_accessor(number)) for number in range(trees.num_tree)]
    sizes = np.array([len(part.kind) for part in parts])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    offset = np.repeat(roots, sizes)
    kind = np.concatenate([part.kind for part in parts])
    is_leaf = kind == _LEAF
    comparison = np.concatenate([part.comparison for part in parts])
    if (comparison[~is_leaf & (kind != _CATEGORICAL)] == _EQUAL).any():
        raise CompileFailed("forest", "it has tests on equality of numbers")
    # x > t to the left is x <= t to the right.
    swapped = ~is_leaf & np.isin(comparison, (_GREATER, _GREATER_OR_EQUAL))
    first = np.where(is_leaf, -1, np.concatenate([part.left for part in parts]) + offset)
    second = np.where(is_leaf, -1, np.concatenate([part.right for part in parts]) + offset)
    left, right = np.where(swapped, second, first), np.where(swapped, first, second)
    missing_right = (np.concatenate([part.default_left for part in parts]) == 0) != swapped
    category_set, sets = _category_sets(parts, is_leaf)
    threshold = np.concatenate([part.threshold for part in parts])
    bound = _bounds(threshold, comparison, np.float64 if wide_values else np.float32)
    feature = np.where(is_leaf, 0, np.concatenate([part.feature for part in parts]))
    numerical = ~is_leaf & (category_set < 0)
    unlike_zero = feature[numerical & (missing_right != (bound < 0))]
    leaf = np.where(is_leaf, np.cumsum(is_leaf) - 1, -1)
    depth = _depths(left, right, roots)
    values = np.concatenate([part.leaf_values(outputs, number) for number, part in enumerate(parts)])
    with np.errstate(over="ignore"):
        leaf_values = np.ascontiguousarray(values, dtype=np.float32)
    if not np.array_equal(np.isfinite(leaf_values), np.isfinite(values)):
        raise CompileFailed("forest", "it has leaves that are too large for float32")
    count, output, scale = outputs.count, outputs.first_outputs, outputs.scale
    if column is not None:
        leaf_values, count, output, scale = leaf_values[:, [column]], 1, np.zeros_like(output), scale[[column]]
    return Ensemble(
        features=trees.num_feature,
        wide_values=wide_values,
        outputs=count,
        roots=roots,
        output=output,
        tree=np.repeat(np.arange(len(parts)), sizes),
        depth=depth,
        left=left,
        right=right,
        feature=feature,
        bound=bound,
        missing_right=missing_right & ~is_leaf,
        missing_zero=numerical & ~np.isin(feature, unlike_zero),
        category_set=category_set,
        leaf=leaf,
        leaf_values=np.ascontiguousarray(leaf_values),
        leaf_share=_leaf_shares(parts, depth[is_leaf]),
        sets=sets,
        scale=scale,
    )


class _Tree:
    """The fields of one of Treelite's trees."""

    def __init__(self, accessor: treelite.model.TreeAccessor) -> None:
        get = accessor.get_field
        self.kind, self.comparison = get("node_type"), get("cmp")
        self.left, self.right = get("cleft").astype(np.int64), get("cright").astype(np.int64)
        self.feature, self.default_left = get("split_index"), get("default_left")
        self.threshold = get("threshold").astype(np.float64)
        self._leaf_value, self._leaf_vector = get("leaf_value"), get("leaf_vector")
        self._get = get

    def leaf_values(self, outputs: TreeOutputs, number: int) -> np.ndarray:
        """Return the values of the leaves, (leaves, 1) or (leaves, outputs), in the order of the nodes."""
        leaves = np.flatnonzero(self.kind == _LEAF)
        if not self._leaf_vector.size:
            values: np.ndarray = self._leaf_value[leaves, np.newaxis]
            return values
        whole = np.zeros((len(leaves), outputs.count))
        whole[:, outputs.of(number)] = self._leaf_vector.reshape(len(leaves), -1)
        return whole

    def leaf_share(self) -> np.ndarray | None:
        """Return the share of the training's rows, or of their weight, in each leaf; None where the model does not
        say."""
        for field in ("data_count", "sum_hess"):
            counts, present = self._get(field), self._get(f"{field}_present")
            if counts.size and present.all():
                leaves = counts[self.kind == _LEAF].astype(np.float64)
                if np.isfinite(leaves).all() and (leaves >= 0).all() and leaves.sum() > 0:
                    shares: np.ndarray = leaves / leaves.sum()
                    return shares
        return None

    def sets(self) -> list[tuple[int, CategorySet]]:
        """Return the node number and the set of every categorical test."""
        nodes = np.flatnonzero(self.kind == _CATEGORICAL)
        if not nodes.size:
            return []
        listed, listed_right = self._get("category_list"), self._get("category_list_right_child")
        begin, end = self._get("category_list_begin"), self._get("category_list_end")
        return [
            (
                int(node),
                CategorySet(
                    feature=int(self.feature[node]),
                    categories=tuple(sorted(set(listed[int(begin[node]) : int(end[node])].tolist()))),
                    listed_right=bool(listed_right[node]),
                    missing_right=not self.default_left[node],
                ),
            )
            for node in nodes
        ]


def _leaf_shares(parts: Sequence[_Tree], depth: np.ndarray) -> np.ndarray:
    """Return the share of the rows in each leaf; ``depth`` (leaves,)."""
    shares: np.ndarray = 0.5 ** np.minimum(depth, _MAX_DEPTH)
    begin = 0
    for part in parts:
        end = begin + int((part.kind == _LEAF).sum())
        own_shares = part.leaf_share()
        if own_shares is not None:
            shares[begin:end] = own_shares
        begin = end
    return shares


def _category_sets(parts: Sequence[_Tree], is_leaf: np.ndarray) -> tuple[np.ndarray, tuple[CategorySet, ...]]:
    """Return the set of each node, -1 where there is none, and all sets; equal ones are one."""
    numbers: dict[CategorySet, int] = {}
    of_node = np.full(len(is_leaf), -1)
    offset = 0
    for part in parts:
        for node, category_set in part.sets():
            of_node[offset + node] = numbers.setdefault(category_set, len(numbers))
        offset += len(part.kind)
    return of_node, tuple(numbers)


def keys_of(values: np.ndarray) -> np.ndarray:
    """Return the keys of float32 or float64 values, which are int32 or int64 numbers in their order, as int64; both
    zeros have one. NaN has none."""
    kind = np.iinfo(f"int{8 * values.itemsize}")
    bits = np.ascontiguousarray(values).view(kind.dtype).astype(np.int64)
    bits = np.where(bits == kind.min, 0, bits)
    return np.where(bits < 0, bits ^ kind.max, bits)


def _bounds(threshold: np.ndarray, comparison: np.ndarray, datatype: type[np.floating[Any]]) -> np.ndarray:
    """Return the bounds that keys are compared with: the key of the largest value of ``datatype`` not above the
    threshold, or for < and >= the key before where the threshold itself is one. Nothing is below or above NaN: no value
    goes to the first child."""
    with np.errstate(over="ignore", invalid="ignore"):
        below = threshold.astype(datatype)
        below = np.where(below > threshold, np.nextafter(below, datatype(-np.inf)), below)
    exclusive = np.isin(comparison, (_LESS, _GREATER_OR_EQUAL)) & (below == threshold)
    bounds = keys_of(below) - exclusive
    kind = np.iinfo(f"int{8 * below.itemsize}")
    first_is_right = np.isin(comparison, (_GREATER, _GREATER_OR_EQUAL))
    return np.where(np.isnan(threshold), np.where(first_is_right, kind.max - 1, kind.min), bounds)


def _depths(left: np.ndarray, right: np.ndarray, roots: np.ndarray) -> np.ndarray:
    depth = np.zeros(len(left), dtype=np.int64)
    level, reached = 0, roots
    while len(reached):
        depth[reached] = level
        inner = reached[left[reached] >= 0]
        level, reached = level + 1, np.concatenate([left[inner], right[inner]])
    return depth
