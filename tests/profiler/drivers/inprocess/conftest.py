"""Checks that a test of workers leaves no process, folder or shared memory."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def everything_ends(nothing_remains: None) -> None:
    """Asserted after every test of this folder."""
