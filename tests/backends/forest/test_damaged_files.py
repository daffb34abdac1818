"""Damaged forest files: the checksum finds damage, and the kernel refuses what would lead it out of bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.backends.forest.compiling import opened
from tests.backends.forest.files import ForestFile

from servefit.backends.engines.forest import ForestBackend
from servefit.backends.forest._kernel import Forest
from servefit.backends.forest.file_format import VERSION, map_forest
from servefit.backends.types import Artifact, Settings, Target
from servefit.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

Change = Callable[[ForestFile], Any]


def load(file: Path) -> None:
    facts = {"outputs": 12, "column": None}
    artifact = Artifact(
        backend="forest", backend_version="1", model_digest="", target=Target.CPU, folder=file.parent, facts=facts
    )
    ForestBackend().load(artifact, Settings()).close()


def test_what_was_written_is_loaded(small_forest: bytes, vector_forest: bytes, file: Path) -> None:
    for content in (small_forest, vector_forest):
        file.write_bytes(content)
        load(file)
        file.write_bytes(ForestFile(content).sealed())
        load(file)


def test_a_damaged_byte_is_refused_wherever_it_is(small_forest: bytes, file: Path) -> None:
    places = {*range(320), *range(320, len(small_forest), 211), len(small_forest) - 1}
    for place in sorted(places):
        damaged = bytearray(small_forest)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        with pytest.raises(BackendError, match=r"its artifact .*is damaged"):
            load(file)


def test_a_file_that_ends_early_is_refused(small_forest: bytes, file: Path) -> None:
    for size in (1, 8, 16, 100, 400, len(small_forest) // 2, len(small_forest) - 1):
        file.write_bytes(small_forest[:size])
        with pytest.raises(BackendError, match="is damaged"):
            load(file)


def test_a_file_that_goes_on_is_refused(small_forest: bytes, file: Path) -> None:
    file.write_bytes(small_forest + b"\0" * 64)
    with pytest.raises(BackendError, match="is damaged"):
        load(file)


def test_an_empty_file_and_a_missing_one_are_refused(file: Path) -> None:
    with pytest.raises(BackendError, match=r"cannot be read: .*No such file"):
        load(file)
    file.touch()
    with pytest.raises(BackendError, match="cannot be read: cannot mmap an empty file"):
        load(file)


def header(name: str, value: float) -> Change:
    def change(content: ForestFile) -> None:
        content.header[name] = value

    return change


def section(name: str, **places: int) -> Change:
    def change(content: ForestFile) -> None:
        for field, value in places.items():
            content.section(name)[field] = value

    return change


def emptied(*names: str) -> Change:
    def change(content: ForestFile) -> None:
        for name in names:
            content.section(name)["count"] = 0

    return change


def entry(name: str, which: Callable[[np.ndarray], Any], field: str | None, value: float) -> Change:
    """Change a field of the first entry of an array that is so; of any where nothing is asked."""

    def change(content: ForestFile) -> None:
        array = content.array(name)
        place = int(np.flatnonzero(which(array))[0])
        if field is None:
            array[place] = value
        else:
            array[field][place] = value

    return change


def any_(array: np.ndarray) -> Any:
    return np.ones(len(array), dtype=bool)


def last(array: np.ndarray) -> Any:
    return np.arange(len(array)) == len(array) - 1


def is_leaf(nodes: np.ndarray) -> Any:
    return nodes["step"] == 0


def is_numerical(nodes: np.ndarray) -> Any:
    return (nodes["step"] > 0) & (nodes["column"] < 0x8000)


def is_categorical(nodes: np.ndarray) -> Any:
    return nodes["column"] >= 0x8000


def is_complete(trees: np.ndarray) -> Any:
    return trees["complete"] > 0


def is_walked(trees: np.ndarray) -> Any:
    return trees["complete"] == 0


def of_categories(columns: np.ndarray) -> Any:
    return columns["kind"] == 3


def all_categories(content: ForestFile) -> None:
    content.array("key_columns")["kind"] = 3


def without_columns(content: ForestFile) -> None:
    emptied("rank_features", "rank_columns", "category_columns", "folds", "fold_sets")(content)
    content.array("heap_low")[:] = 0


def all_complete(content: ForestFile) -> None:
    header("complete_count", len(content.array("trees")))(content)


def set_at_the_end(content: ForestFile) -> None:
    content.array("fold_sets")["bytes"][0] = content.array("bits").nbytes - 63


def exit_of(which: Callable[[np.ndarray], Any], value: int) -> Change:
    def change(content: ForestFile) -> None:
        tree = content.array("trees")[which(content.array("trees"))][-1]
        content.array("exits")[tree["exits"] + 2 ** int(tree["levels"]) - 1] = value

    return change


def fewer_levels_later(content: ForestFile) -> None:
    trees = content.array("trees")
    trees["levels"][: content.header["complete_count"]] = 0
    trees["levels"][0] = 1


def step_outside(content: ForestFile) -> None:
    """The left child is the last node, so that the right one is none."""
    nodes = content.array("nodes")
    place = int(np.flatnonzero(is_numerical(nodes))[-1])
    nodes["step"][place] = len(nodes) - 1 - place


def category_of_numbers(content: ForestFile) -> None:
    nodes = content.array("nodes")
    nodes["column"][is_categorical(nodes)] = 0x8000


def search_outside(content: ForestFile) -> None:
    feature = content.array("rank_features")
    searched = feature[feature["search_levels"] == 2][0]
    content.array("bounds")[searched["bounds"] + 15] = 0


def empty_fold(content: ForestFile) -> None:
    for name in ("singles", "pairs_count"):
        entry("folds", any_, name, 0)(content)


def join_with_itself(content: ForestFile) -> None:
    joins = content.array("fold_joins")
    joins["right"][0] = joins["left"][0]


def exit_of_fold(content: ForestFile) -> None:
    content.array("exits")[content.array("folds")["exits"][0]] = 2**31


def too_many_columns(content: ForestFile) -> None:
    content.replace("rank_columns", np.zeros(65_537, dtype=content.array("rank_columns").dtype))


OUTSIDE = "an array lies outside it"
CHANGES: dict[str, tuple[str, Change]] = {
    "another version": ("it is of another version", header("version", VERSION + 1)),
    "a shorter size": ("it is not as long as it says", header("size", 4096)),
    "no features": ("it has no inputs or outputs", header("features", 0)),
    "too many features": ("it has no inputs or outputs", header("features", 2**30 + 1)),
    "no outputs": ("it has no inputs or outputs", header("outputs", 0)),
    "too many outputs": ("it has no inputs or outputs", header("outputs", 65_537)),
    "a post-processor to come": ("its post-processor is unknown", header("postprocessor", 8)),
    "no group": ("its outputs are not in equal groups", header("group", 0)),
    "unequal groups": ("its outputs are not in equal groups", header("group", 5)),
    "no alpha": ("a parameter is not finite", header("alpha", np.nan)),
    "an infinite ratio": ("a parameter is not finite", header("ratio", np.inf)),
    "an infinite offset": ("a parameter is not finite", header("offset", -np.inf)),
    "more complete trees than trees": ("it has fewer trees than it says", header("complete_count", 13)),
    "fewer complete trees": ("complete trees do not come first", header("complete_count", 0)),
    "more complete trees": ("complete trees do not come first", header("complete_count", 11)),
    **{
        f"{what} of {name}": (OUTSIDE, section(name, **places))
        for name in ("nodes", "heap_high", "leaves", "base", "exits")
        for what, places in {
            "an odd place": {"begin": 65},
            "a place behind the end": {"begin": 2**40},
            "too many": {"count": 2**20},
            "more than memory": {"count": 2**62},
        }.items()
    },
    "a section up to its end and on": (OUTSIDE, lambda content: content.section("base").__setitem__("count", 13)),
    "shorter bounds": ("its heaps differ in size", section("heap_bounds", count=64)),
    "shorter high bytes": ("its heaps differ in size", section("heap_high", count=64, begin=0)),
    "fewer scales": ("it has no base score for each output", section("scale", count=11)),
    "fewer base scores": ("it has no base score for each output", section("base", count=11)),
    "65,537 columns of codes": ("it has too many columns", too_many_columns),
    "no key columns": ("it has no column of keys", emptied("key_columns")),
    "keys of another feature": ("of a feature that does not exist", entry("key_columns", last, "feature", 9)),
    "keys of another kind": ("of no known kind", entry("key_columns", last, "kind", 4)),
    "categories from outside": ("outside the table of categories", entry("key_columns", of_categories, "begin", 9999)),
    "categories to outside": (
        "outside the table of categories",
        entry("key_columns", of_categories, "count", 2**32 - 1),
    ),
    "a first column of categories": ("the first column of keys holds", all_categories),
    "numbers after categories": ("numerical columns do not come first", entry("key_columns", last, "kind", 0)),
    "a leaf with a column": ("a leaf has a column", entry("nodes", is_leaf, "column", 1)),
    "a leaf with categories": ("a leaf has a column", entry("nodes", is_leaf, "column", 0x8000)),
    "a child behind the nodes": ("children lie outside the nodes", entry("nodes", is_numerical, "step", 65_535)),
    "a right child behind the nodes": ("children lie outside the nodes", step_outside),
    "a node's other column": ("a node's column does not exist", entry("nodes", is_numerical, "column", 0x7FFF)),
    "a set's other column": ("a node's column does not exist", entry("nodes", is_categorical, "column", 0xFFFF)),
    "a set behind the bits": ("a node's column does not exist", entry("nodes", is_categorical, "bound", 2**31 - 1)),
    "a set before the bits": ("a node's column does not exist", entry("nodes", is_categorical, "bound", -1)),
    "a set of numbers": ("a node's column does not exist", category_of_numbers),
    "no bits": ("a node's column does not exist", emptied("bits")),
    "ranks of another feature": ("ranks are of a feature", entry("rank_features", any_, "feature", 9)),
    "a long search": ("searched for in too many levels", entry("rank_features", any_, "search_levels", 8)),
    "a search in more than there is": ("outside the table of bounds", entry("rank_features", any_, "search_levels", 6)),
    "bounds from outside": ("outside the table of bounds", entry("rank_features", any_, "bounds", 2**32 - 1)),
    "a search that goes astray": ("a search among bounds leaves its level", search_outside),
    "columns that end early": ("columns do not exist", entry("rank_features", last, "columns_end", 0)),
    "columns that end late": ("columns do not exist", entry("rank_features", last, "columns_end", 1024)),
    "categories of another key": ("of no category, or of too many", entry("category_columns", any_, "key", 99)),
    "categories of a number": ("of no category, or of too many", entry("category_columns", any_, "key", 0)),
    "categories without walks": ("categories are tested by no tree", all_complete),
    "a set of a number's code": ("a set is of no category", entry("fold_sets", any_, "column", 0)),
    "a set of another column": ("a set is of no category", entry("fold_sets", any_, "column", 2**32 - 1)),
    "a set's bits from outside": ("a set lies outside the table of bits", entry("fold_sets", any_, "bytes", 2**32 - 1)),
    "a set's bits to outside": ("a set lies outside the table of bits", set_at_the_end),
    "sets behind the sets": ("a fold's tests do not exist", entry("folds", any_, "sets", 2**32 - 1)),
    "a fold of 257 sets": ("a fold's tests do not exist", entry("folds", any_, "sets_count", 257)),
    "a heap's other column": ("a heap's column does not exist", entry("heap_low", any_, None, 255)),
    "a tree's other output": ("an output that does not exist", entry("trees", any_, "output", 12)),
    "nine levels": ("a heap has too many levels", entry("trees", any_, "levels", 9)),
    "a heap behind the heaps": ("a heap lies outside the heaps", entry("trees", any_, "heap", 2**32 - 1)),
    "exits behind the exits": ("exits lie outside the exits", entry("trees", any_, "exits", 2**32 - 1)),
    "heaps without columns": ("a heap has no columns", without_columns),
    "no depth": ("a tree has no depth", entry("trees", any_, "steps", np.nan)),
    "a negative depth": ("a tree has no depth", entry("trees", any_, "steps", -1)),
    "an endless depth": ("a tree has no depth", entry("trees", last, "steps_on", np.inf)),
    "a complete tree among others": ("complete trees do not come first", entry("trees", is_walked, "complete", 1)),
    "another number for complete": ("complete trees do not come first", entry("trees", is_complete, "complete", 2)),
    "complete trees in disorder": ("complete trees are not in order", fewer_levels_later),
    "an exit behind the nodes": ("an exit leads nowhere", exit_of(is_walked, 2**31)),
    "a tree's other fold": ("a tree's fold does not exist", entry("trees", any_, "fold", 2**32 - 1)),
    "an empty fold": ("a fold has no leaves, or too many", empty_fold),
    "a fold of 257 leaves": ("a fold has no leaves, or too many", entry("folds", any_, "singles", 257)),
    "pairs behind the pairs": ("a fold's tests do not exist", entry("folds", any_, "pairs", 2**32 - 1)),
    "joins behind the joins": ("a fold's tests do not exist", entry("folds", any_, "joins_count", 65_535)),
    "leaves behind the exits": ("a fold's leaves lie outside the exits", entry("folds", any_, "exits", 2**32 - 1)),
    "a fold's other root": ("a fold ends nowhere", entry("folds", any_, "root", 255)),
    "a pair's other column": ("a fold's column does not exist", entry("fold_pairs", any_, "column", 65_535)),
    "a join's other column": ("a fold's column does not exist", entry("fold_joins", any_, "column", 65_535)),
    "a join of another slot": ("a fold's slot does not exist", entry("fold_joins", any_, "right", 255)),
    "a join with itself": ("a fold's slot does not exist", join_with_itself),
    "a root behind the nodes": ("a root lies outside the nodes", entry("trees", is_walked, "root", 2**31)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_would_lead_the_kernel_astray_is_refused(name: str, small_forest: bytes, file: Path) -> None:
    message, change = CHANGES[name]
    content = ForestFile(small_forest)
    change(content)
    file.write_bytes(content.sealed())
    with pytest.raises(BackendError, match=f"its artifact is damaged: .*{message}"):
        load(file)


VECTOR_CHANGES: dict[str, tuple[str, Change]] = {
    "a leaf behind the leaves": (
        "a leaf lies outside the table of leaves",
        entry("nodes", is_leaf, "bound", 2**31 - 1),
    ),
    "a negative leaf": ("a leaf lies outside the table of leaves", entry("nodes", is_leaf, "bound", -1)),
    "an exit behind the leaves": ("an exit leads nowhere", exit_of(is_complete, 2**31)),
    "a fold's leaf behind the leaves": ("a fold ends in a leaf that does not exist", exit_of_fold),
    "no leaves": ("a leaf lies outside the table of leaves", emptied("leaves")),
}


@pytest.mark.parametrize("name", VECTOR_CHANGES)
def test_a_leaf_that_is_not_in_the_table_is_refused(name: str, vector_forest: bytes, file: Path) -> None:
    message, change = VECTOR_CHANGES[name]
    content = ForestFile(vector_forest)
    change(content)
    file.write_bytes(content.sealed())
    with pytest.raises(ValueError, match=message):
        Forest(map_forest(file))


WIDE_CHANGES: dict[str, tuple[str, Change]] = {
    "the version of the others": ("it is of another version", header("version", 1)),
    "rows of float32": ("it is of another version", header("wide_values", 0)),
    "keys of other ranks": ("of ranks that do not exist", entry("key_columns", last, "begin", 99)),
    "a search that goes astray": ("a search among bounds leaves its level", search_outside),
    "bounds of half the size": ("ranks that do not exist|outside the table of bounds", section("bounds", count=20)),
}


@pytest.mark.parametrize("name", WIDE_CHANGES)
def test_ranks_of_float64_values_from_outside_are_refused(name: str, wide_forest: bytes, file: Path) -> None:
    message, change = WIDE_CHANGES[name]
    content = ForestFile(wide_forest)
    change(content)
    file.write_bytes(content.sealed())
    with pytest.raises(ValueError, match=message):
        Forest(map_forest(file))


def test_rows_of_float32_are_refused_where_values_are_wide(wide_forest: bytes, file: Path) -> None:
    file.write_bytes(wide_forest)
    forest = Forest(map_forest(file))
    with pytest.raises(ValueError, match="rows of 9 float64 values"):
        forest.predict(np.zeros((3, 9), np.float32), np.empty((3, 12), np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_not_refused_predicts_something(seed: int, small_forest: bytes, file: Path) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((70, 9), dtype=np.float32)
    accepted = 0
    for _ in range(150):
        changed = bytearray(small_forest)
        for place in generator.integers(16, len(changed), 2):
            changed[place] = generator.integers(256)
        file.write_bytes(ForestFile(changed).sealed())
        try:
            with opened(file) as forest:
                out = np.full((70, 12), np.inf, dtype=np.float32)
                forest.predict(rows, out)
                accepted += 1
        except ValueError:
            continue
    assert accepted > 20
