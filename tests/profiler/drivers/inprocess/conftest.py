"""Whatever a test of workers does, nothing of it may remain."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def everything_ends(nothing_remains: None) -> None:
    """Asserted after every test of this folder."""
