"""What the parts of forest's layouts cost, by which it chooses: the constants of backends/forest/choosing.py and of the
kernel's instruction sets.

    python -m benchmarks.claims.forest_costs [--rounds 15]

Trees of regular shapes are timed, with one thread on one CPU: blocks of 64 rows, and few rows at a time. Costs are
differences between shapes that differ in one part, divided by how many of it there are; the trees of a shape fit the
second-level cache. In a round every shape is timed once, and what is printed are medians over the rounds. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import numpy as np

from benchmarks.synthetic import machine
from servefit.backends.forest._kernel import Forest, instruction_sets
from servefit.backends.forest.ensemble import CategorySet, Ensemble, keys_of
from servefit.backends.forest.file_format import map_forest
from servefit.backends.forest.finish import Finish
from servefit.backends.forest.layout import write_forest
from servefit.profiler.machine.host import describe_host

FEATURES, BLOCKS, BLOCK = 30, 8, 64
CATEGORIES = 40
STEM = 4
SLICE_S = 0.02


Tree: TypeAlias = "tuple[Tree, Tree] | None"
"""The children of a test, or a leaf."""


def complete(depth: int, under: Tree = None) -> Tree:
    """Return a complete tree, with ``under`` in the place of every leaf at ``depth``."""
    return under if depth == 0 else (complete(depth - 1, under), complete(depth - 1, under))


def on_a_stem(tree: Tree) -> Tree:
    """Return ``tree`` below a chain of tests with a leaf each, so that it has too many levels for a heap."""
    for _ in range(STEM):
        tree = (None, tree)
    return tree


def children_of(tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Return the children of every node by number, -1 at leaves; the root is the first node."""
    left: list[int] = []
    right: list[int] = []

    def add(subtree: Tree) -> int:
        node = len(left)
        left.append(-1)
        right.append(-1)
        if subtree is not None:
            left[node], right[node] = add(subtree[0]), add(subtree[1])
        return node

    add(tree)
    return np.array(left), np.array(right)


def ensemble_of(tree: Tree, trees: int, *, categorical: bool) -> Ensemble:
    """Return an ensemble of equal trees with random tests."""
    generator = np.random.default_rng(0)
    children = children_of(tree)
    size = len(children[0])
    offset = np.repeat(np.arange(trees) * size, size)
    left, right = (np.where(side < 0, -1, side + offset) for side in (np.tile(nodes, trees) for nodes in children))
    is_leaf = left < 0
    depth = np.zeros(size, dtype=np.int64)
    for node in range(size):
        if children[0][node] >= 0:
            depth[[children[0][node], children[1][node]]] = depth[node] + 1
    depth = np.tile(depth, trees)
    feature = np.where(is_leaf, 0, generator.integers(0, FEATURES, len(left)))
    sets = tuple(
        CategorySet(
            feature=feature,
            categories=tuple(sorted(generator.choice(CATEGORIES, CATEGORIES // 2, replace=False).tolist())),
            listed_right=True,
            missing_right=False,
        )
        for feature in range(FEATURES)
    )
    return Ensemble(
        features=FEATURES,
        wide_values=False,
        outputs=1,
        roots=np.arange(trees) * size,
        output=np.zeros(trees, dtype=np.int64),
        tree=np.repeat(np.arange(trees), size),
        depth=depth,
        left=left,
        right=right,
        feature=feature,
        bound=keys_of(generator.integers(-30, 31, len(left)).astype(np.float32) / 16),
        missing_right=np.zeros(len(left), dtype=bool),
        missing_zero=np.zeros(len(left), dtype=bool),
        category_set=np.where(is_leaf, -1, feature) if categorical else np.full(len(left), -1),
        leaf=np.where(is_leaf, np.cumsum(is_leaf) - 1, -1),
        leaf_values=generator.standard_normal((int(is_leaf.sum()), 1)).astype(np.float32),
        leaf_share=np.full(int(is_leaf.sum()), trees / int(is_leaf.sum())),
        sets=sets if categorical else (),
        scale=np.ones(1),
    )


PLAIN = Finish(postprocessor=0, group=1, base=np.zeros(1), alpha=1.0, ratio=1.0, outlier_offset=None)


class Shape:
    """Forests of equal trees, of different numbers of them: what is not done for each tree is left out by comparing."""

    def __init__(self, folder: Path, name: str, tree: Tree, trees: int, *, categorical: bool = False) -> None:
        self._files = [folder / f"{name} {count}.forest" for count in (trees, 3 * trees)]
        self._more = 2 * trees
        for file, count in zip(self._files, (trees, 3 * trees), strict=True):
            ensemble = ensemble_of(tree, count, categorical=categorical)
            self.facts = write_forest(file, ensemble, PLAIN, truncated_categories=False)
        generator = np.random.default_rng(1)
        if categorical:
            self._rows = generator.integers(0, CATEGORIES, (BLOCKS * BLOCK, FEATURES)).astype(np.float32)
        else:
            self._rows = generator.standard_normal((BLOCKS * BLOCK, FEATURES), dtype=np.float32)

    def block_ns(self, instructions: str) -> float:
        """Return the time of one tree for one block."""
        return self._tree_ns(instructions, len(self._rows)) / BLOCKS

    def row_ns(self, instructions: str) -> float:
        """Return the time of one tree for one row, with eight rows a call: about the number from which blocks are
        faster."""
        return self._tree_ns(instructions, 8) / len(self._rows)

    def _tree_ns(self, instructions: str, together: int) -> float:
        """Return the time of one tree for all rows, with ``together`` rows a call."""
        fewer, more = (self._ns(file, instructions, together) for file in self._files)
        return (more - fewer) / self._more

    def _ns(self, file: Path, instructions: str, together: int) -> float:
        forest = Forest(map_forest(file), instructions=instructions)
        calls = [
            (self._rows[begin : begin + together], np.empty(together, np.float32))
            for begin in range(0, len(self._rows), together)
        ]
        taken, began = [], time.monotonic()
        while time.monotonic() - began < SLICE_S:
            start = time.perf_counter_ns()
            for rows, out in calls:
                forest.predict(rows, out)
            taken.append(time.perf_counter_ns() - start)
        forest.close()
        return median(taken)


def shapes_in(folder: Path) -> dict[str, Shape]:
    """Return the shapes by name. A test over two leaves is a pair of a fold, every other test a join."""
    pair: Tree = (None, None)
    five_levels = on_a_stem(complete(5))
    return {
        **{f"depth {depth}": Shape(folder, f"depth {depth}", complete(depth), 100) for depth in (1, 4, 5, 8)},
        "depth 10": Shape(folder, "depth 10", complete(10), 16),
        "depth 12": Shape(folder, "depth 12", complete(12), 4),
        "16 pairs": Shape(folder, "16 pairs", five_levels, 100),
        "16 pairs and 16 joins more": Shape(folder, "joins", on_a_stem(complete(5, pair)), 100),
        "16 joins more": Shape(folder, "leaves", on_a_stem(complete(4, (None, pair))), 100),
        "16 pairs of categories": Shape(folder, "categories", five_levels, 100, categorical=True),
    }


def costs(shapes: dict[str, Shape], instructions: str) -> dict[str, float]:
    """Return the costs in ns, for a block unless the name says otherwise."""

    def block(name: str) -> float:
        return shapes[name].block_ns(instructions)

    mask = (block("depth 5") - block("depth 4")) / 16
    folded = block("16 pairs")
    # A tree has a leaf more than tests, so there is a leaf that stands alone for every join that has no pair.
    join = (block("16 joins more") - folded) / 16
    # Heaps have eight levels, and rows walk on for two, or four.
    on = (block("depth 12") - block("depth 10")) / BLOCK / 2
    return {
        "mask": mask,
        "level below the masks": (block("depth 8") - block("depth 5")) / 3,
        "exits and sum": block("depth 1") - mask,
        "pair": (block("16 pairs and 16 joins more") - folded) / 16 - join,
        "join": join,
        "set": (block("16 pairs of categories") - folded) / (31 + STEM),
        "step of a row through a heap": shapes["depth 8"].row_ns(instructions) / 8,
        "step of a row's walk": shapes["depth 10"].row_ns(instructions) / 10,
        "leaving a heap to walk on, a row": (block("depth 10") - block("depth 8")) / BLOCK - 2 * on,
        "step of a row that walks on": on,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    host = describe_host()
    os.sched_setaffinity(0, [max(cpu.cpu for cpu in host.cpus)])
    with tempfile.TemporaryDirectory() as folder:
        shapes = shapes_in(Path(folder))
        found = [{name: costs(shapes, name) for name in instruction_sets()} for _ in range(rounds)]
    result: dict[str, Any] = {"machine": machine(host), "rounds": rounds, "ns": {}}
    for name, parts in found[0].items():
        result["ns"][name] = {part: round(median(costs[name][part] for costs in found), 2) for part in parts}
    result["layouts"] = {name: shape.facts for name, shape in shapes.items()}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
