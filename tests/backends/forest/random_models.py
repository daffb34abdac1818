"""Treelite models of random ensembles: what their leaves hold, which outputs they add to, and what comes after.

``numbered_model`` tells which leaf of every tree a row ends in; ``random_model`` is like a model of a library.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from tests.backends.forest.random_forests import Ensemble, Tree, add_trees

if TYPE_CHECKING:
    from collections.abc import Sequence

UNIT = 2.0**-12
"""Leaves and base scores are multiples of this and sums stay below 2**12, so float32 sums are exact in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How leaves become predictions. Outputs are (targets, classes). A tree adds to all of an axis, as a vector, or to
    one place of it. Without ``exact``, leaves are any floats."""

    targets: int
    classes: int
    all_targets: bool
    all_classes: bool
    averaged: bool
    postprocessor: str
    alpha: float
    ratio: float
    with_base: bool
    exact: bool

    @property
    def leaf_shape(self) -> tuple[int, int]:
        return self.targets if self.all_targets else 1, self.classes if self.all_classes else 1


_EACH = ("identity", "sigmoid", "exponential", "logarithm_one_plus_exp", "signed_square", "hinge")
_MULTICLASS = ("identity_multiclass", "softmax", "multiclass_ova")


@st.composite
def forms(draw: st.DrawFn) -> Form:
    classes = draw(st.sampled_from([1, 1, 1, 2, 3, 7]))
    exact = draw(st.sampled_from([True, True, True, False]))
    names = _MULTICLASS if classes > 1 else (*_EACH, "exponential_standard_ratio")
    postprocessor = draw(st.sampled_from(names if exact else names[:1]))
    return Form(
        targets=draw(st.sampled_from([1, 1, 2, 4])),
        classes=classes,
        all_targets=draw(st.booleans()),
        all_classes=draw(st.booleans()),
        # Rounding of a mean can turn a margin of zero into a positive one.
        averaged=draw(st.booleans()) and postprocessor != "hinge",
        postprocessor=postprocessor,
        alpha=draw(st.sampled_from([1.0, 0.5, 2.0, 3.25])),
        ratio=draw(st.sampled_from([1.0, 0.5, 9.75])),
        with_base=draw(st.booleans()),
        exact=exact,
    )


def random_model(ensemble: Ensemble, form: Form) -> Any:
    generator = np.random.default_rng(ensemble.recipe.seed + 2)
    width = form.leaf_shape[0] * form.leaf_shape[1]
    largest = 32 / max(1, len(ensemble.trees))

    def values(count: int, largest: float) -> np.ndarray:
        drawn = generator.uniform(-largest, largest, count)
        if form.exact:
            return np.round(drawn / UNIT) * UNIT
        return drawn if ensemble.recipe.dtype == "float64" else drawn.astype(np.float32).astype(np.float64)

    def leaf(number: int, place: int) -> float | list[float]:
        vector: list[float] = values(width, largest).tolist()
        return vector if width > 1 else vector[0]

    count = len(ensemble.trees)
    outputs = form.targets * form.classes
    if count < outputs:
        form = replace(form, averaged=False)  # GTIL's mean of no trees is no number
    builder = model_builder(
        dtype=ensemble.recipe.dtype,
        features=ensemble.recipe.features,
        form=form,
        target_ids=[-1 if form.all_targets and form.targets > 1 else n % form.targets for n in range(count)],
        class_ids=[
            -1 if form.all_classes and form.classes > 1 else n // form.targets % form.classes for n in range(count)
        ],
        base_scores=values(outputs, 8.0).tolist() if form.with_base else [0.0] * outputs,
    )
    add_trees(builder, ensemble.trees, leaf, counted=ensemble.recipe.counted)
    return builder.commit()


def numbered_model(trees: Sequence[Tree], *, features: int, dtype: str = "float32", counted: str = "") -> Any:
    """A model in which output k is the place of the leaf of tree k, plus one."""
    builder = model_builder(
        dtype=dtype,
        features=features,
        form=plain_form(classes=len(trees)),
        target_ids=[0] * len(trees),
        class_ids=list(range(len(trees))),
        base_scores=[0.0] * len(trees),
    )
    add_trees(builder, trees, lambda _, place: place + 1.0, counted=counted)
    return builder.commit()


def plain_form(*, classes: int = 1) -> Form:
    """Trees of single values, each for one class."""
    return Form(
        targets=1,
        classes=classes,
        all_targets=False,
        all_classes=False,
        averaged=False,
        postprocessor="identity_multiclass" if classes > 1 else "identity",
        alpha=1.0,
        ratio=1.0,
        with_base=False,
        exact=True,
    )


def model_builder(
    *, dtype: str, features: int, form: Form, target_ids: list[int], class_ids: list[int], base_scores: list[float]
) -> Any:
    from treelite.model_builder import Metadata, ModelBuilder, PostProcessorFunc, TreeAnnotation

    return ModelBuilder(
        threshold_type=dtype,
        leaf_output_type=dtype,
        metadata=Metadata(
            num_feature=features,
            task_type="kMultiClf" if form.classes > 1 else "kRegressor",
            average_tree_output=form.averaged,
            num_target=form.targets,
            num_class=[form.classes] * form.targets,
            leaf_vector_shape=form.leaf_shape,
        ),
        tree_annotation=TreeAnnotation(num_tree=len(target_ids), target_id=target_ids, class_id=class_ids),
        postprocessor=PostProcessorFunc(name=form.postprocessor, sigmoid_alpha=form.alpha, ratio_c=form.ratio),
        base_scores=base_scores,
    )
