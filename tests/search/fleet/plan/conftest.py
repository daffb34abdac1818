"""Offers of host classes, in few words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from servefit.search.fleet.plan.offer import HostOffer

MakeOffer = Callable[..., HostOffer]


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
