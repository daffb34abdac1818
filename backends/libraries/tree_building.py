"""Treelite models built node by node, of the trees of libraries that Treelite does not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from servefit.backends.model.types import Task

if TYPE_CHECKING:
    import treelite
    from treelite.model_builder import ModelBuilder


@dataclass(frozen=True, slots=True)
class Question:
    """An inner node: a row goes ``left`` where its ``feature`` is ``operator`` ("<" or "<=") the ``threshold``, and
    where it is missing and ``missing_left`` is true; else ``right``. Both are numbers of nodes of the tree."""

    feature: int
    threshold: float
    missing_left: bool
    left: int
    right: int
    operator: str = "<="


Leaf: TypeAlias = list[float]
"""The values that a leaf adds: one to the output of its tree, or one to each output."""
Node: TypeAlias = "Leaf | Question"
Nodes: TypeAlias = Sequence[Node]
"""Of a tree, by their numbers; the root is 0."""

_TASKS = {Task.BINARY: "kBinaryClf", Task.MULTICLASS: "kMultiClf", Task.RANKING: "kLearningToRank"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltTrees:
    """Trees of one ensemble over rows of ``features``. ``bases`` (outputs,) are added to the sums of leaves, and
    ``finish`` is Treelite's name of what follows. ``outputs_of`` (trees,) is the output that each tree adds to; None
    where leaves have a value for each. ``averaged`` says that sums are divided by the number of trees."""

    trees: Sequence[Nodes]
    features: int
    task: Task
    bases: Sequence[float]
    finish: str
    outputs_of: Sequence[int] | None = None
    averaged: bool = False

    def build(self) -> treelite.Model:
        """Return the model. Raises treelite.TreeliteError."""
        from treelite.model_builder import Metadata, ModelBuilder, PostProcessorFunc, TreeAnnotation

        count, outputs = len(self.trees), len(self.bases)
        of_classes = self.task in (Task.BINARY, Task.MULTICLASS) and outputs > 1
        chosen = [-1] * count if self.outputs_of is None else list(self.outputs_of)
        one = [0] * count
        vectors = self.outputs_of is None and outputs > 1
        shape = (1, outputs) if of_classes else (outputs, 1)
        builder = ModelBuilder(
            threshold_type="float64",
            leaf_output_type="float64",
            metadata=Metadata(
                num_feature=self.features,
                task_type=_TASKS.get(self.task, "kRegressor"),
                average_tree_output=self.averaged,
                num_target=1 if of_classes else outputs,
                num_class=[outputs] if of_classes else [1] * outputs,
                leaf_vector_shape=shape if vectors else (1, 1),
            ),
            tree_annotation=TreeAnnotation(
                num_tree=count,
                target_id=one if of_classes or outputs == 1 else chosen,
                class_id=chosen if of_classes else one,
            ),
            postprocessor=PostProcessorFunc(name=self.finish),
            base_scores=list(self.bases),
        )
        for nodes in self.trees:
            _build(builder, nodes)
        return builder.commit()


def _build(builder: ModelBuilder, nodes: Nodes) -> None:
    builder.start_tree()
    for number, node in enumerate(nodes):
        builder.start_node(number)
        if isinstance(node, Question):
            builder.numerical_test(
                node.feature,
                node.threshold,
                default_left=node.missing_left,
                opname=node.operator,
                left_child_key=node.left,
                right_child_key=node.right,
            )
        else:
            builder.leaf(node[0] if len(node) == 1 else node)
        builder.end_node()
    builder.end_tree()
