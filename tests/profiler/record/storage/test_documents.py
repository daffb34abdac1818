"""Values are written as documents and read again, by way of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.example_counts import examples
from tests.profiler.record.storage.conftest import spelled

from servefit.backends.model import Model
from servefit.backends.types import Settings
from servefit.profiler.evidence.problem import Problem
from servefit.profiler.evidence.sequential_test import Evidence
from servefit.profiler.evidence.summary import Summary, summarize
from servefit.profiler.machine.host import Host, describe_host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.storage.documents import Misfit, from_document, to_document
from servefit.profiler.record.types import ClientRecord, Measurement

if TYPE_CHECKING:
    from tests.profiler.made_runs import MakeRun
    from tests.profiler.record.storage.conftest import Anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """``area`` is worked out."""

    side: float
    area: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", self.side * self.side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawer:
    label: str
    squares: Mapping[str, Square | float | None]
    kept_in: Path | None = None


DRAWER = Drawer(label="a", squares={"@type": Square(side=2), "": 1.5, "none": None}, kept_in=Path("/tmp/ö"))


def written(value: Any, kind: Any = None) -> Any:
    return json.loads(json.dumps(to_document(value, kind or type(value), [], "it"), allow_nan=False))


def read(document: Any, kind: Any) -> Any:
    return from_document(document, kind, [], "it")


@pytest.mark.integration
@settings(max_examples=examples(15, drawn=30), deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize(
    "kind", [Host, Summary, Model, Settings, Problem, Evidence, InstanceProfile, Drawer, Mapping[str, Path | None]]
)
@given(data=st.data())
def test_whatever_was_written_is_read_again(anything: Anything, kind: Any, data: st.DataObject) -> None:
    value = data.draw(anything(kind))
    again = read(written(value, kind), kind)
    assert again == value
    assert spelled(again) == spelled(value), "equal, and of the same types all through"


def test_this_host_is_read_again_with_its_fingerprint() -> None:
    host = describe_host()
    document = written(host)
    assert "fingerprint" not in document
    assert read(document, Host) == host
    assert read(document | {"cpu_model": "another"}, Host).fingerprint != host.fingerprint


def test_figures_of_a_run_are_read_again(make_run: MakeRun) -> None:
    summary = summarize(make_run(), memory_bytes=2**30)
    assert summary.latency_ms["p99"] is not None
    assert read(written(summary), Summary) == summary


def test_a_measurement_without_its_runs_needs_no_arrays(measurement: Measurement) -> None:
    bare = replace(measurement, runs=())
    arrays: list[bytes] = []
    document = to_document(bare, Measurement, arrays)
    assert arrays == []
    assert read(json.loads(json.dumps(document)), Measurement) == bare


def test_a_model_is_read_again_with_its_paths() -> None:
    from servefit.backends.model import Format, Signature, Task

    model = Model(
        source="model.ubj",
        file=Path("/srv/models/model.ubj"),
        format=Format.XGBOOST_UBJSON,
        digest="0f",
        size_bytes=10,
        signature=Signature(task=Task.BINARY, features=30, outputs=1),
    )
    document = written(model)
    assert document["file"] == "/srv/models/model.ubj"
    assert read(document, Model) == model


def test_mappings_say_that_they_are_so_and_may_have_any_keys() -> None:
    document = written(DRAWER)
    assert document["squares"] == {"@mapping": {"@type": {"@type": "Square", "side": 2}, "": 1.5, "none": None}}
    assert read(document, Drawer) == DRAWER
    unchangeable = replace(DRAWER, squares=MappingProxyType(dict(DRAWER.squares)))
    assert written(unchangeable) == document


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"squares": {1: None}}, "it.squares has the key 1, which is no str"),
        ({"squares": {"a": "b"}}, r"it.squares\['a'\] is 'b', not"),
        ({"squares": [("a", None)]}, r"it.squares is \[\('a', None\)\], not"),
        ({"kept_in": "/tmp"}, "it.kept_in is '/tmp', not"),
    ],
)
def test_a_value_that_does_not_fit_is_not_written(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(Misfit, match=problem):
        written(replace(DRAWER, **wrong))


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"squares": {"a": None}}, "it.squares is .*, not"),
        ({"squares": {"@mapping": {}, "a": None}}, "it.squares is .*, not"),
        ({"squares": {"@mapping": []}}, "it.squares is .*, not"),
        ({"squares": {"@mapping": {"a": "b"}}}, r"it.squares\['a'\] is 'b', not"),
        ({"squares": {"@mapping": {"a": {"@type": "Square", "side": 1, "area": 1}}}}, "should not have, 'area'"),
        ({"kept_in": 3}, "it.kept_in is 3, not"),
    ],
)
def test_a_document_that_does_not_fit_is_not_read(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(Misfit, match=problem):
        read(written(DRAWER) | wrong, Drawer)


def test_a_field_that_an_earlier_version_did_not_know_takes_its_default() -> None:
    document = written(DRAWER)
    del document["kept_in"]
    assert read(document, Drawer) == replace(DRAWER, kept_in=None)
    del document["squares"]
    with pytest.raises(Misfit, match="it lacks, or should not have, 'squares'"):
        read(document, Drawer)


def test_a_model_that_was_kept_before_its_inputs_were_known_is_read() -> None:
    from servefit.backends.model import Format, Input, Signature, Task

    ids = Input(name="ids", datatype="int64", shape=(4,), start=0, stop=4, lowest=0, highest=2**63 - 1)
    model = Model(
        source="model.onnx",
        file=Path("/srv/models/model.onnx"),
        format=Format.ONNX,
        digest="0f",
        size_bytes=10,
        signature=Signature(task=Task.TENSOR, features=4, outputs=1, integer_features=(0, 1, 2, 3), inputs=(ids,)),
        batch_dependent=True,
    )
    document = written(model)
    assert read(document, Model) == model
    del document["batch_dependent"], document["signature"]["inputs"]
    assert read(document, Model) == replace(model, batch_dependent=False, signature=replace(model.signature, inputs=()))


def test_a_field_that_came_later_than_a_document_has_its_default() -> None:
    client = ClientRecord(
        processes=1, cpus=(0,), cpu_percent=9.0, connections=1, reconnections=0, errors={}, shares_cpus=False
    )
    document = written(client)
    assert document["waited_percent"] is None
    del document["waited_percent"]
    assert read(document, ClientRecord) == client
    del document["shares_cpus"]
    with pytest.raises(Misfit, match="it lacks, or should not have, 'shares_cpus'"):
        read(document, ClientRecord)


def test_a_number_that_is_no_number_is_not_written() -> None:
    with pytest.raises(Misfit, match="side is"):
        written(Square(side=np.int64(3)))  # type: ignore[arg-type]
