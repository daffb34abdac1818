"""A path for a forest's file, and a forest with every part that one can have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.backends.forest.compiling import compiled
from tests.backends.forest.random_forests import ORDINARY, Tree, random_ensemble
from tests.backends.forest.random_models import numbered_model, plain_form, random_model

if TYPE_CHECKING:
    from pathlib import Path


def mixed_trees() -> list[Tree]:
    """Trees with tests on categories, of which there are no heaps, and trees without."""
    numerical = replace(ORDINARY, trees=6, depth=7, categorical=0.0)
    return [*random_ensemble(replace(ORDINARY, trees=6)).trees, *random_ensemble(numerical).trees]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.forest"


@pytest.fixture(scope="session")
def small_forest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a forest of 9 features and 12 outputs: with complete trees and others, categories, and ranks that
    are searched for in two levels."""
    file = tmp_path_factory.mktemp("forest") / "model.forest"
    compiled(numbered_model(mixed_trees(), features=9), file)
    return file.read_bytes()


@pytest.fixture(scope="session")
def wide_forest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a forest of 9 features and 12 outputs whose rows are float64, with ranks that are searched for in two
    levels."""
    file = tmp_path_factory.mktemp("forest") / "model.forest"
    recipe = replace(ORDINARY, dtype="float64", wide=True, categorical=0.0)
    compiled(numbered_model(random_ensemble(recipe).trees, features=9, dtype="float64"), file, wide=True)
    return file.read_bytes()


@pytest.fixture(scope="session")
def vector_forest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """As ``small_forest``, with leaves that are vectors of 3 outputs."""
    file = tmp_path_factory.mktemp("forest") / "model.forest"
    form = replace(plain_form(classes=3), all_classes=True)
    compiled(random_model(random_ensemble(ORDINARY), form), file)
    return file.read_bytes()
