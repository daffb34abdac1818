"""Measurements of made-up runs, and values of any annotation."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import strategies as st

from servefit.backends.types import Settings
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, TrafficPhase
from servefit.profiler.record.types import Configuration, Measurement

if TYPE_CHECKING:
    from tests.profiler.made_runs import MakeRun

Anything = Callable[[Any], st.SearchStrategy[Any]]

PHASES = st.builds(
    TrafficPhase,
    initial_users=st.integers(1, 9),
    spawn_per_minute=st.just(0) | st.floats(0, 1000),
    duration_s=st.floats(61, 1000),
)
LAST_PHASE = st.builds(
    TrafficPhase, initial_users=st.integers(1, 9), spawn_per_minute=st.just(0), duration_s=st.floats(1, 9)
)
SPECIAL = {
    bytes: st.lists(st.integers(-(2**63), 2**63 - 1)).map(lambda times: np.array(times, dtype=np.int64).tobytes()),
    OpenLoop: st.builds(
        OpenLoop,
        rate_per_s=st.integers(1, 10_000) | st.floats(0.1, 10_000),
        duration_s=st.floats(0.1, 100),
        arrivals=st.sampled_from(["poisson", "constant"]),
        seed=st.integers(0, 2**64),
        backlog_cap=st.none() | st.integers(1, 1000),
    ),
    ClosedLoop: st.builds(
        lambda phases, last: ClosedLoop(phases=(*phases, last)), st.lists(PHASES, max_size=3), LAST_PHASE
    ),
    str: st.text(st.characters(), max_size=8),
    float: st.floats(allow_nan=False) | st.integers(-(2**70), 2**70),
    int: st.integers(),
    Path: st.text(st.characters(), max_size=8).map(Path),
}


def spelled(value: Any) -> str:
    """All that ``value`` holds, with the type of each part."""
    if is_dataclass(value):
        held = [f"{field.name}={spelled(getattr(value, field.name))}" for field in fields(value)]
    elif isinstance(value, Mapping):
        held = [f"{key!r}: {spelled(item)}" for key, item in value.items()]
    elif isinstance(value, tuple):
        held = [spelled(item) for item in value]
    else:
        return repr(value)
    return f"{type(value).__name__}({', '.join(held)})"


@pytest.fixture(scope="session")
def anything() -> Anything:
    """Any value of an annotation, so that fields to come are tried too."""
    return any_value


def any_value(kind: Any) -> st.SearchStrategy[Any]:
    if kind in SPECIAL:
        return SPECIAL[kind]
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of(*map(any_value, get_args(kind)))
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        return st.lists(any_value(get_args(kind)[0]), max_size=3).map(tuple)
    if get_origin(kind) is tuple:
        return st.tuples(*map(any_value, get_args(kind)))
    if get_origin(kind) is Mapping:
        return st.dictionaries(*map(any_value, get_args(kind)), max_size=3)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: any_value(hints[field.name]) for field in fields(kind) if field.init})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    return st.from_type(kind)


@pytest.fixture
def measurement(make_run: MakeRun) -> Measurement:
    return Measurement(
        configuration=Configuration(
            vcpus=2,
            backend="onnxruntime",
            settings=Settings(threads=1, options=(("intra_op_spinning", False), ("graph", "all"), ("chunk", 64))),
            environment=(("LANG", "C.UTF-8"),),
        ),
        host_fingerprint="9f2d",
        containment="uncontained",
        envelope="affinity",
        memory_limit_bytes=None,
        cpus=(0, 1),
        runs=(make_run(), make_run(100, stopped="verdict")),
        load_s=0.25,
        peak_memory_bytes=100_000_000,
    )
