"""Offers of host classes, in few words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from servefit.search.fleet.plan.offer import HostOffer

MakeOffer = Callable[..., HostOffer]


@pytest.fixture
def solved_apart() -> None:
    """Plans are worked out in a process of their own, as users have it."""


@pytest.fixture(autouse=True)
def _solved_here(request: pytest.FixtureRequest) -> None:
    """Other tests need no process: one takes longer to start than what they ask to solve."""
    if "solved_apart" not in request.fixturenames:
        request.getfixturevalue("solved_here")


@pytest.fixture
def offer() -> MakeOffer:
    return make_offer


def make_offer(host_class: str = "old", **changed: Any) -> HostOffer:
    fields: dict[str, Any] = {
        "hosts": 4,
        "rate_per_s": 1000.0,
        "cost_idle": 40.0,
        "configuration": "xgboost, 4 workers",
    }
    return HostOffer(host_class=host_class, **{**fields, **changed})
