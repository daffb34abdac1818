"""The newest set holds a value of every type that is stored, so that no type changes unnoticed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.golden.kept import NEWEST

import servefit as sf
from servefit.errors import UnreadableMeasurement
from servefit.search.storage.jobs import JobStore
from servefit.stored import Stored

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

NOT_IN_JOBS_OR_MEASUREMENTS = {"StoredMember", "Artifact", "EndpointConfig", "ArtifactFacts", "Limits"}
"""A base class, and the types of the files that ``test_artifacts`` reads."""

BETWEEN_HOSTS = ("servefit.search.fleet.", "servefit.search.jobs.orders")
"""Where the types of orders and answers are, which jobs and agents of one schema send each other."""

NOT_KEPT = {"Gpu", "Owner"}
"""Sets are made on machines without a GPU, and hold no job that is being worked on."""

NOT_YET_KEPT = {
    "AfterIdle", "Deviation", "DeviationLimit", "EndpointCosts", "KnownPrice", "ModelAlone",
    *("Quality", "QualityDrop", "QualityLimit"),
    *("Attempt", "CallsTime", "Constant", "HostTiming", "JobHost", "Output", "Padding", "PlanRequest", "Size"),
    *("SaidShape", "ScriptCost", "UsedSizes", "WorkTime"),
}  # fmt: skip
"""Of jobs of schema 4 and 5, and of prices that were set, whose set is made with its release, as ``make`` says."""


def subclasses(kind: type[Stored]) -> Iterator[type[Stored]]:
    for subclass in kind.__subclasses__():
        if subclass.__module__.startswith("servefit."):
            yield subclass
            yield from subclasses(subclass)


def types_within(value: Any) -> Iterator[type[Stored]]:
    """The stored types of ``value`` and of all that it holds."""
    if isinstance(value, Stored):
        yield type(value)
        for field in msgspec.structs.fields(type(value)):
            yield from types_within(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from types_within(item)
    elif isinstance(value, tuple | list | frozenset):
        for item in value:
            yield from types_within(item)


def values_of(copy: Path) -> Iterator[Any]:
    """Everything that the jobs and the measurements of a set hold."""
    with JobStore.open(f"sqlite:///{copy / 'home' / 'jobs.db'}") as store:
        for job in store.jobs():
            yield from (job.header, job.state, job.steps())
    for path in copy.rglob("*.servefit"):
        try:
            yield sf.load_measurement(path)
        except UnreadableMeasurement:
            yield sf.load_endpoint_runs(path)


@pytest.mark.parametrize("copy", [NEWEST], indirect=True, ids=lambda original: original.name)
def test_the_newest_set_holds_every_type_that_is_stored(copy: Path) -> None:
    for module in pkgutil.walk_packages(sf.__path__, "servefit."):
        if not module.name.endswith(("__main__", "_kernel")):
            importlib.import_module(module.name)
    found = {kind.__name__ for value in values_of(copy) for kind in types_within(value)}
    kept = {kind for kind in subclasses(Stored) if not kind.__module__.startswith(BETWEEN_HOSTS)}
    expected = {kind.__name__ for kind in kept} - NOT_IN_JOBS_OR_MEASUREMENTS - NOT_KEPT
    assert expected - found == NOT_YET_KEPT
