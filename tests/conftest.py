"""What all tests need."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_interrupts() -> None:
    """A suite that is started in the background inherits an ignored SIGINT, and so would every command it tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
