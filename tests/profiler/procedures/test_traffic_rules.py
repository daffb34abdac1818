"""The rules about the traffic that is asked for, which hold for a model as for an endpoint."""

from __future__ import annotations

from typing import Any

import pytest

import servefit as sf
from servefit.errors import SpecError
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.procedures.traffic_rules import given_traffic, own_rate_per_s, rate_where_none_is_asked
from servefit.profiler.record.traffic import ClosedLoop

LIMIT = LatencyThreshold(percentile="p95", limit_ms=10)
PHASES = ClosedLoop.constant(users=1, duration_s=1)
NOTHING: dict[str, Any] = {"rate": None, "users": None, "phases": None, "duration_s": None}
SINE, STEPS = "sine:period=1s", "steps:rates=100/s+300/s"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rate": 10.0, "users": 1}, "users cannot be combined with rate"),
    ({"users": 1, "traffic": PHASES}, "phases cannot be combined with users"),
    ({"traffic": PHASES, "duration_s": 1}, "duration: 1 is said by the phases already"),
    ({"thresholds": ["p95<=10ms"]}, "thresholds[0]: 'p95<=10ms' is not of type LatencyThreshold"),
    ({"users": 1, "thresholds": [LIMIT]}, "is not held against users who take turns"),
    ({"users": 1, "arrivals": SINE}, "says how a rate arrives, and there is none"),
    ({"arrivals": SINE}, "says how a rate arrives, and there is none"),
    ({"arrivals": SINE, "thresholds": [LIMIT], "duration_s": 2}, "take 1 s to show all that they do"),
]


@pytest.mark.parametrize(("asked", "problem"), REFUSED)
def test_a_model_and_an_endpoint_are_refused_the_same_in_the_same_words(asked: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as of_model:
        sf.profile("none.ubj", **asked)
    with pytest.raises(SpecError) as of_endpoint:
        sf.load_endpoint("http://127.0.0.1:1", **asked)
    assert problem in str(of_model.value)
    assert str(of_model.value) == str(of_endpoint.value)


@pytest.mark.parametrize(("given", "name"), [({"rate": 1.0}, "rate"), ({"phases": PHASES}, "phases"), ({}, None)])
def test_the_traffic_that_is_given_has_a_name(given: dict[str, Any], name: str | None) -> None:
    assert given_traffic(**{**NOTHING, **given}) == name


@pytest.mark.parametrize(
    ("text", "limited", "rate_per_s"),
    [("poisson", False, None), ("poisson", True, None), (STEPS, False, 200), (STEPS, True, 200), (SINE, True, None)],
)
def test_arrivals_come_at_their_own_rate_where_they_have_one(
    text: str, limited: bool, rate_per_s: float | None
) -> None:
    found = rate_where_none_is_asked(arrivals_named(text), closed=False, limited=limited, search_s=30)
    assert found == rate_per_s


def test_the_rate_of_a_shape_that_has_none_is_an_error() -> None:
    assert own_rate_per_s(arrivals_named(STEPS)) == 200
    with pytest.raises(SpecError, match="give a rate"):
        own_rate_per_s(arrivals_named(SINE))
