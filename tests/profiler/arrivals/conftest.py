"""Packages with shapes, installed for one test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.shape_packages import install_shape, shape_source


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make an installed package that offers a shape called ``name``."""

    def install(package: str, name: str, source: str | None = None) -> None:
        # Shapes are kept by their text and the current folder.
        monkeypatch.chdir(tmp_path)
        install_shape(tmp_path, monkeypatch, package, name, shape_source(name) if source is None else source)

    return install
