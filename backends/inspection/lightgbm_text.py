"""Reads LightGBM's text format, which LightGBM itself and Treelite read without looking where they step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from servefit.backends.inspection.forest import BrokenTree, Tree

# Bits of decision_type in LightGBM's include/LightGBM/tree.h.
_CATEGORICAL_BIT = 1
_MISSING_TYPE_SHIFT, _MISSING_TYPE_MASK = 2, 3
_MISSING_NONE, _MISSING_ZERO = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LightGBMText:
    """The fields of the header, of each tree, and of the training parameters at the end, as text."""

    header: Mapping[str, str]
    trees: tuple[Mapping[str, str], ...]
    parameters: Mapping[str, str]


def parse(text: str) -> LightGBMText:
    """Split a model file into its fields. A field without a value, such as ``average_output``, is empty text."""
    header: dict[str, str] = {}
    trees: list[dict[str, str]] = []
    parameters: dict[str, str] = {}
    fields = header
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "Tree":
            fields = {}
            trees.append(fields)
        elif line == "end of trees":
            fields = {}
        elif line.startswith("[") and line.endswith("]"):
            name, _, value = line[1:-1].partition(": ")
            parameters[name] = value
        elif name:
            fields[name] = value
    return LightGBMText(header=header, trees=tuple(trees), parameters=parameters)


def peculiarities(text: LightGBMText) -> tuple[str, ...]:
    """Return the traits that converters are known to get wrong about such a model."""
    objective, *options = text.header.get("objective", "").split() or [""]
    missing_types = {
        decision >> _MISSING_TYPE_SHIFT & _MISSING_TYPE_MASK
        for tree in text.trees
        for decision in {int(word) for word in tree.get("decision_type", "").split()}
        if not decision & _CATEGORICAL_BIT
    }
    traits = {
        "zero_as_missing": _MISSING_ZERO in missing_types,
        "missing_type_none": _MISSING_NONE in missing_types,
        "linear_tree": any(tree.get("is_linear", "0") != "0" for tree in text.trees),
        "average_output": "average_output" in text.header,
        "sigmoid": any(option.startswith("sigmoid:") and float(option[8:]) != 1 for option in options),
        "sqrt": "sqrt" in options,
        "one_vs_all": objective == "multiclassova",
        "quantile": objective == "quantile",
    }
    return tuple(name for name, present in traits.items() if present)


def trees_of(text: LightGBMText) -> Iterator[Tree]:
    """Yield the trees, inner nodes first and leaves after them. Raises BrokenTree where a field is missing or odd."""
    for index, fields in enumerate(text.trees):
        try:
            yield _tree(fields)
        except KeyError as error:
            raise BrokenTree(f"tree {index} has no {error.args[0]}") from error
        except ValueError as error:
            raise BrokenTree(f"tree {index} does not parse: {error}") from error


def _tree(fields: Mapping[str, str]) -> Tree:
    leaves = int(fields["num_leaves"])
    if leaves < 1:
        raise ValueError(f"num_leaves is {leaves}")
    if leaves == 1:
        return _stump()
    inner = leaves - 1
    children = np.stack([_integers(fields["left_child"]), _integers(fields["right_child"])], axis=1)
    features, decisions = _integers(fields["split_feature"]), _integers(fields["decision_type"])
    thresholds = np.array(fields["threshold"].split(), dtype=np.float64)
    if not len(children) == len(features) == len(decisions) == len(thresholds) == inner:
        raise ValueError(f"it has {leaves} leaves and not {inner} splits")
    categorical = (decisions & _CATEGORICAL_BIT).astype(bool)
    category_features, categories = _categories(fields, features[categorical], thresholds[categorical])
    return Tree(
        nodes=inner + leaves,
        parents=np.arange(inner),
        # A negative child is the bitwise complement of a leaf's number.
        children=np.where(children < 0, inner + ~children, children),
        split_features=features[~categorical],
        thresholds=thresholds[~categorical],
        category_features=category_features,
        categories=categories,
    )


def _categories(fields: Mapping[str, str], features: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the categories of each categorical split: its threshold numbers a run of 32-bit words, one bit a
    category."""
    if not features.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    bounds = _integers(fields["cat_boundaries"])
    words = np.array(fields["cat_threshold"].split(), dtype=np.uint32)
    if slots.min() < 0 or slots.max() >= len(bounds) - 1:
        raise ValueError("a categorical split has no categories")
    sets = []
    for slot in slots.astype(np.int64):
        bits = np.unpackbits(words[bounds[slot] : bounds[slot + 1]].view(np.uint8), bitorder="little")
        sets.append(np.flatnonzero(bits))
    return np.repeat(features, [len(categories) for categories in sets]), np.concatenate(sets)


def _stump() -> Tree:
    nothing = np.empty(0, np.int64)
    return Tree(
        nodes=1,
        parents=nothing,
        children=nothing.reshape(0, 2),
        split_features=nothing,
        thresholds=np.empty(0),
        category_features=nothing,
        categories=nothing,
    )


def _integers(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=np.int64)
