"""Requests that are made by hand hold what their annotations say, or are refused with the name of the field."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import pytest

import servefit as sf
from servefit.backends.variables.secret import hidden
from servefit.errors import SpecError
from servefit.field_types import check_types
from servefit.profiler.record.traffic import OpenLoop, TrafficPhase
from servefit.search.request.job_request import EnvironmentRange, JobRequest
from servefit.search.request.load_request import LoadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Dish:
    name: str = "soup"
    grams: float = 1.0
    sizes: tuple[int, ...] = ()
    kind: Literal["hot", "cold"] = "hot"
    notes: Mapping[str, str | int] = field(default_factory=dict)
    words: Collection[str] = ()
    served: bool | None = None

    def __post_init__(self) -> None:
        check_types(self, hidden=("notes",))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": 5}, "name: 5 is not text; write it in quotes"),
        ({"name": None}, "name has no value; give it one, or leave it out"),
        ({"name": b"soup"}, "name: b'soup' is not text"),
        ({"grams": "1"}, "grams: '1' is not a number"),
        ({"grams": True}, "grams: True is not a number"),
        ({"sizes": "12"}, "sizes: '12' is not a list"),
        ({"sizes": 12}, "sizes: 12 is not a list"),
        ({"sizes": (1, 2.5)}, "sizes[1]: 2.5 is not a whole number"),
        ({"sizes": (True,)}, "sizes[0]: True is not a whole number"),
        ({"kind": "Hot"}, "kind: 'Hot' is not known; did you mean 'hot'?"),
        ({"kind": 5}, "kind: 5 is not text"),
        ({"notes": "A=1"}, "notes is not a mapping"),
        ({"notes": {"A": 1.5}}, "notes['A'] is not text or a whole number; write it in quotes"),
        ({"notes": {1: "A"}}, "a key of notes is not text; write it in quotes"),
        ({"words": "abc"}, "words: 'abc' is not a list"),
        ({"words": ["a", 5]}, "words[1]: 5 is not text; write it in quotes"),
        ({"served": "no"}, "served: 'no' is not true or false"),
        ({"name": ["x" * 100]}, "name is not text"),
    ],
)
def test_a_field_of_another_type_is_refused_by_its_name(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as refused:
        Dish(**fields)
    assert str(refused.value) == said


def test_what_stands_for_a_type_is_taken_and_a_list_becomes_a_tuple() -> None:
    dish = Dish(grams=2, sizes=[1, 2], words={"a"}, notes={"a": 1})  # type: ignore[arg-type]
    assert (dish.grams, dish.sizes) == (2, (1, 2))
    assert Dish(grams=cast("Any", np.float32(0.5))).grams == 0.5
    assert Dish(name=hidden(["soup"])[0]).name == "***"


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (JobRequest, {"name": 5}, "name: 5 is not text"),
        (JobRequest, {"name": "x", "budget_s": "5"}, "budget_s: '5' is not a number"),
        (JobRequest, {"name": "x", "max_tests": "5"}, "max_tests: '5' is not a whole number"),
        (JobRequest, {"name": "x", "max_tests": float("inf")}, "max_tests: inf is not a whole number"),
        (JobRequest, {"name": "x", "max_tests": 2.5}, "max_tests: 2.5 is not a whole number"),
        (JobRequest, {"name": "x", "max_parallel_tests": None}, "max_parallel_tests has no value"),
        (JobRequest, {"name": "x", "cost_weight": None}, "cost_weight has no value"),
        (JobRequest, {"name": "x", "seed": "5"}, "seed: '5' is not a whole number"),
        (JobRequest, {"name": "x", "batch_sizes": 8}, "batch_sizes: 8 is not a list"),
        (JobRequest, {"name": "x", "batch_sizes": ("8",)}, r"batch_sizes\[0\]: '8' is not a whole number"),
        (JobRequest, {"name": "x", "profiles": "local-1c"}, "profiles: 'local-1c' is not a list"),
        (JobRequest, {"name": "x", "profiles": (5,)}, r"profiles\[0\]: 5 is not text"),
        (JobRequest, {"name": "x", "backends": "forest"}, "backends: 'forest' is not a list"),
        (JobRequest, {"name": "x", "flat_invocations": "nonsense"}, "flat_invocations: 'nonsense' is not known"),
        (JobRequest, {"name": "x", "flat_invocations": "stop"}, "flat_invocations: .*; did you mean 'Stop'?"),
        (JobRequest, {"name": "x", "goal": None}, "goal has no value"),
        (JobRequest, {"name": "x", "arrivals": 5}, "arrivals: 5 is not text"),
        (JobRequest, {"name": "x", "allow_noise": "no"}, "allow_noise: 'no' is not true or false"),
        (JobRequest, {"name": "x", "over_http": None}, "over_http has no value"),
        (JobRequest, {"name": "x", "phases": []}, r"phases: \[\] is not of type ClosedLoop"),
        (JobRequest, {"name": "x", "sla": "p95<=10ms"}, "sla: 'p95<=10ms' is not of type Sla"),
        (JobRequest, {"name": "x", "sla": None}, "sla has no value"),
        (JobRequest, {"name": "x", "environment": {"API_KEY": ["hunter2"]}}, "^environment is not a list$"),
        (JobRequest, {"name": "x", "environment": ("API_KEY=1",)}, r"^environment\[0\] is not of type Env"),
        (sf.LatencyThreshold, {"percentile": "p95", "limit_ms": "10ms"}, "limit_ms: '10ms' is not a number"),
        (sf.LatencyThreshold, {"percentile": 95, "limit_ms": 1}, "percentile: 95 is not text"),
        (sf.Sla, {"rate_per_s": "500/s"}, "rate_per_s: '500/s' is not a number"),
        (sf.Sla, {"thresholds": "p95"}, "thresholds: 'p95' is not a list"),
        (sf.Sla, {"thresholds": (1,)}, r"thresholds\[0\]: 1 is not of type LatencyThreshold"),
        (EnvironmentRange, {"variable": "A", "values": (1, 2)}, r"values\[0\] is not text; write it in quotes"),
        (EnvironmentRange, {"variable": 5, "values": ("1",)}, "variable: 5 is not text"),
        (EnvironmentRange, {"variable": "A", "values": ("1",), "profiles": "x"}, "profiles: 'x' is not a list"),
        (TrafficPhase, {"initial_users": "1", "spawn_per_minute": 0, "duration_s": 1}, "users: '1' is not"),
        (sf.ClosedLoop, {"phases": "x"}, "phases: 'x' is not a list"),
        (sf.ClosedLoop, {"phases": (5,)}, r"phases\[0\]: 5 is not of type TrafficPhase"),
        (OpenLoop, {"rate_per_s": "5", "duration_s": 1}, "rate"),
        (LoadRequest, {"users": "5"}, "users: '5' is not a whole number"),
        (LoadRequest, {"phases": "x"}, "phases: 'x' is not of type ClosedLoop"),
        (sf.Deployment, {"backend": 5}, "backend: 5 is not text"),
        (sf.Deployment, {"profile": 5}, "profile: 5 is not text"),
        (sf.Deployment, {"environment": "TOKEN=1"}, "^environment is not a mapping$"),
        (sf.Deployment, {"secret_env": "X"}, "secret_env: 'X' is not a list"),
        (sf.Deployment, {"options": {"x": 1.5}}, r"options\['x'\]: 1.5 is not"),
    ],
)
def test_what_is_made_by_hand_of_another_type_is_refused_where_it_is_made(
    kind: Any, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        kind(**fields)


def test_a_count_in_other_digits_than_those_of_libraries_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^env: .* is not a whole number above zero"):
        EnvironmentRange(variable="OMP_NUM_THREADS", values=("\N{ARABIC-INDIC DIGIT THREE}",))


def test_lists_are_taken_for_tuples() -> None:
    limit = sf.LatencyThreshold(percentile="p95", limit_ms=10)
    given: Any = {"name": "x", "profiles": ["local-1c"], "sla": sf.Sla(thresholds=cast("Any", [limit]))}
    assert JobRequest(**given) == JobRequest(name="x", profiles=("local-1c",), sla=sf.Sla(thresholds=(limit,)))
