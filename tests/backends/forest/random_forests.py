"""Random tree ensembles as Treelite models, and rows that lie where their tests decide.

A recipe says what an ensemble is like; hypothesis draws recipes, and makes them smaller where something fails. How the
ensemble's leaves count towards outputs is the business of ``random_models``.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OPERATORS = ("<", "<=", ">", ">=")
MISSING = ("left", "right", "either", "zero")
"""To the first child, to the second, either way, or where a zero goes."""
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_LARGEST = float(np.finfo(np.float32).max)
_OFTEN = [0.0, -0.0, 1.0, 0.1, 1e-35, np.inf, -np.inf, 1e-45, -1e-45, 1e-39, _LARGEST, -_LARGEST, 1.17549435e-38]
_OFTEN_FLOAT64 = [1 / 3, 1e300, -1e300, 1e-46, -1e-46, _LARGEST * (1 + 1e-9), np.nextafter(0.5, 1), -1e-35, np.nan]
_BEYOND = [-1.0, -0.5, -0.25, 2.5, -7.0, 2.0**24, 2.0**24 + 2, 3e9, 1e38]
"""No categories, or hardly any model's. GTIL takes numbers above 2**32 for other categories in float64 models."""
_NANS = np.array([0x7FC00000, 0xFFC00001, 0x7FFFFFFF], dtype=np.uint32).view(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an ensemble is like. Its rows are float64 where it is ``wide``, which takes thresholds of ``dtype`` float64;
    else float32. ``tested`` features have tests, of all ``features``, and each test on one of them
    draws one of ``thresholds`` values. Of a tree's nodes above ``depth``, ``splitting`` go on: all of them at 1.0. All
    tests on a feature send missing values one way of ``missing``. Nodes may say how many rows they have ``counted``."""

    seed: int
    dtype: str
    wide: bool
    features: int
    tested: int
    trees: int
    depth: int
    splitting: float
    thresholds: int
    categorical: float
    largest_category: int
    operators: tuple[str, ...]
    truncated_categories: bool
    missing: tuple[str, ...]
    counted: str


ORDINARY = Recipe(
    seed=0,
    dtype="float32",
    wide=False,
    features=9,
    tested=9,
    trees=12,
    depth=13,
    splitting=0.9,
    thresholds=40,
    categorical=0.4,
    largest_category=40,
    operators=("<", ">="),
    truncated_categories=False,
    missing=MISSING,
    counted="",
)


def recipes(*, features: Sequence[int] = (1, 30, 300), trees: int = 60) -> st.SearchStrategy[Recipe]:
    return st.builds(
        lambda kinds, **others: Recipe(dtype=kinds[0], wide=kinds[1], **others),
        kinds=st.sampled_from([("float32", False), ("float64", False), ("float64", True)]),
        seed=st.integers(0, 2**32 - 1),
        features=st.sampled_from(features),
        tested=st.sampled_from([1, 3, 20, 300]),
        trees=st.integers(1, 12) | st.integers(13, trees),
        depth=st.integers(0, 6) | st.integers(7, 14),
        splitting=st.sampled_from([1.0, 0.9, 0.55]),
        thresholds=st.sampled_from([1, 12, 300]),
        categorical=st.sampled_from([0.0, 0.0, 0.3, 1.0]),
        largest_category=st.sampled_from([3, 40, 2**20]),
        operators=st.sampled_from([OPERATORS, ("<",), ("<=",), (">",), (">=",)]),
        truncated_categories=st.booleans(),
        missing=st.sampled_from([MISSING, ("either",), ("zero",)]),
        counted=st.sampled_from(["", "", "data_count", "sum_hess"]),
    )


@dataclass(slots=True, kw_only=True)
class Split:
    """A test with its children's places in the tree. It is on ``categories`` where there is no operator."""

    feature: int
    operator: str | None
    threshold: float
    categories: tuple[int, ...]
    listed_right: bool
    default_left: bool
    left: int
    right: int


Tree = list[Split | None]
"""The root first; None is a leaf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Trees, and what their tests are on: the categorical features, and interesting values of every tested one."""

    recipe: Recipe
    trees: list[Tree]
    categorical: frozenset[int]
    values: dict[int, np.ndarray] = field(repr=False)


MAX_NODES = 700


def random_ensemble(recipe: Recipe) -> Ensemble:
    generator = np.random.default_rng(recipe.seed)
    count = min(recipe.tested, recipe.features)
    tested = np.sort(generator.choice(recipe.features, count, replace=False)).tolist()
    categorical = frozenset(feature for feature in tested if generator.random() < recipe.categorical)
    sources: dict[int, Callable[[], Split]] = {}
    values: dict[int, np.ndarray] = {}
    for feature in tested:
        if feature in categorical:
            sources[feature], values[feature] = _categorical(feature, recipe, generator)
        else:
            sources[feature], values[feature] = _numerical(feature, recipe, generator)
    trees = [
        _tree(recipe, lambda: sources[tested[generator.integers(count)]](), generator) for _ in range(recipe.trees)
    ]
    return Ensemble(recipe=recipe, trees=trees, categorical=categorical, values=values)


def _tree(recipe: Recipe, split: Callable[[], Split], generator: np.random.Generator) -> Tree:
    tree: Tree = [None]
    depth = int(generator.integers(recipe.depth + 1)) if recipe.splitting < 1 else recipe.depth
    level = [0]
    for _ in range(depth):
        below = []
        for place in level:
            if len(tree) + 2 > MAX_NODES or (place and generator.random() >= recipe.splitting):
                continue
            test = split()
            test.left, test.right = len(tree), len(tree) + 1
            below += [test.left, test.right]
            tree[place] = test
            tree += [None, None]
        level = [below[n] for n in generator.permutation(len(below))]
    return tree


def _numerical(feature: int, recipe: Recipe, generator: np.random.Generator) -> tuple[Callable[[], Split], np.ndarray]:
    often = _OFTEN + (_OFTEN_FLOAT64 if recipe.dtype == "float64" else [])
    pool = np.concatenate([generator.choice(often, 6), generator.standard_normal(recipe.thresholds) * 2])
    pool = generator.permutation(pool)[: recipe.thresholds]
    if recipe.dtype == "float32":
        pool = pool.astype(np.float32).astype(np.float64)
    missing = str(generator.choice(recipe.missing))

    def split() -> Split:
        opname = str(generator.choice(recipe.operators))
        threshold = float(pool[generator.integers(len(pool))])
        left = {"left": True, "right": False, "zero": _COMPARE[opname](0.0, threshold)}
        return Split(
            feature=feature,
            operator=opname,
            threshold=threshold,
            categories=(),
            listed_right=False,
            default_left=left[missing] if missing in left else bool(generator.integers(2)),
            left=0,
            right=0,
        )

    with np.errstate(over="ignore"):
        near = pool.astype(np.float32)
        below, above = np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))
    common = np.array(_OFTEN, dtype=np.float32)
    normal = generator.standard_normal(20).astype(np.float32)
    values = np.concatenate([near, near, below, above, common, normal, _NANS])
    if recipe.wide:
        # float32 holds none of these, or takes them for their neighbours.
        sides = [np.nextafter(pool, -np.inf), np.nextafter(pool, np.inf)]
        values = np.concatenate([values, pool, *sides, np.round(normal, 1), np.array(_OFTEN_FLOAT64)])
    return split, values


def _categorical(
    feature: int, recipe: Recipe, generator: np.random.Generator
) -> tuple[Callable[[], Split], np.ndarray]:
    known = np.unique(generator.integers(0, recipe.largest_category + 1, 60))

    def split() -> Split:
        size = int(generator.choice([0, 1, 2, len(known) // 2, len(known)]))
        return Split(
            feature=feature,
            operator=None,
            threshold=0.0,
            categories=tuple(generator.choice(known, size, replace=False).tolist()),
            listed_right=bool(generator.integers(2)),
            default_left=bool(generator.integers(2)),
            left=0,
            right=0,
        )

    unknown = generator.integers(0, recipe.largest_category + 2, 10)
    beyond = np.array([*_BEYOND, np.inf, -np.inf], dtype=np.float32)
    return split, np.concatenate([known, known, unknown, known + 0.5, beyond, _NANS]).astype(np.float32)


def random_rows(ensemble: Ensemble, count: int) -> np.ndarray:
    """(count, features) float32 or float64: in features with tests, values on which these decide; in others,
    anything."""
    generator = np.random.default_rng(ensemble.recipe.seed + 1)
    rows = generator.standard_normal((count, ensemble.recipe.features))
    rows = rows.astype(np.float64 if ensemble.recipe.wide else np.float32)
    for feature, values in ensemble.values.items():
        rows[:, feature] = generator.choice(values, count)
    return rows


def rows_for_gtil(ensemble: Ensemble, rows: np.ndarray) -> np.ndarray:
    """``rows`` as GTIL decides on them like libraries that truncate categories: -0.5 is category 0 to these."""
    if not ensemble.recipe.truncated_categories:
        return rows
    rows = rows.copy()
    columns = sorted(ensemble.categorical)
    rows[:, columns] = np.trunc(rows[:, columns])
    return rows


def add_trees(
    builder: Any, trees: Sequence[Tree], leaf: Callable[[int, int], float | list[float]], *, counted: str = ""
) -> None:
    """Add ``trees`` to a Treelite ModelBuilder; ``leaf(tree, place)`` is the value of the leaf at a place. ``counted``
    names what nodes say about their rows: data_count or sum_hess, or nothing."""
    for number, tree in enumerate(trees):
        builder.start_tree()
        for place, node in enumerate(tree):
            builder.start_node(place)
            if node is None:
                builder.leaf(leaf(number, place))
            elif node.operator is None:
                builder.categorical_test(
                    node.feature,
                    default_left=node.default_left,
                    category_list=list(node.categories),
                    category_list_right_child=node.listed_right,
                    left_child_key=node.left,
                    right_child_key=node.right,
                )
            else:
                builder.numerical_test(
                    node.feature,
                    node.threshold,
                    default_left=node.default_left,
                    opname=node.operator,
                    left_child_key=node.left,
                    right_child_key=node.right,
                )
            if counted:
                getattr(builder, counted)(place * 7919 % 31)
            builder.end_node()
        builder.end_tree()
