"""Numbers at the ends of what float32 holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.backends.forest.compiling import compiled, opened, predictions

from servefit.backends.forest.ensemble import read_ensemble
from servefit.errors import CompileFailed


def model_of_one_tree(nodes: dict[int, Callable[[Any], None]]) -> Any:
    """A float64 model with one feature and one tree, whose nodes are described to Treelite's builder."""
    from treelite.model_builder import Metadata, ModelBuilder, PostProcessorFunc, TreeAnnotation

    builder = ModelBuilder(
        threshold_type="float64",
        leaf_output_type="float64",
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
    for number, describe in nodes.items():
        builder.start_node(number)
        describe(builder)
        builder.end_node()
    builder.end_tree()
    return builder.commit()


def test_leaves_that_float32_does_not_hold_are_refused_by_name() -> None:
    with pytest.raises(CompileFailed, match="leaves that are too large for float32"):
        read_ensemble(model_of_one_tree({0: lambda builder: builder.leaf(1e300)}), column=None)


@pytest.mark.parametrize(("truncated", "found"), [(True, 1.0), (False, 2.0)])
def test_categories_above_2_to_the_24_are_known_to_all_but_xgboost(
    truncated: bool, found: float, tmp_path: Path
) -> None:
    listed = {"category_list": [2**24 + 2], "category_list_right_child": False, "default_left": True}
    model = model_of_one_tree(
        {
            0: lambda builder: builder.categorical_test(0, **listed, left_child_key=1, right_child_key=2),
            1: lambda builder: builder.leaf(1.0),
            2: lambda builder: builder.leaf(2.0),
        }
    )
    compiled(model, tmp_path / "model.forest", truncated=truncated)
    with opened(tmp_path / "model.forest") as forest:
        rows = np.array([[2.0**24 + 2], [2.0**24 + 4], [np.nan]], dtype=np.float32)
        assert predictions(forest, rows, 1).ravel().tolist() == [found, 2.0, 1.0]
