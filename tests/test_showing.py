"""Whatever a user gets into their hands shows itself in a line, and in a notebook as a small table."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pickle
import pkgutil
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

import servefit
from servefit.api.job import Job
from servefit.profiler.record.types import Configuration, Measurement
from servefit.showing import MOST_LETTERS, shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servefit.profiler.procedures.profile import Profiled

MOST_HTML = 50_000


def _results() -> dict[str, list[type]]:
    """All dataclasses of servefit by their names."""
    found: dict[str, list[type]] = {}
    for layer in ("backends", "profiler", "search"):
        package = importlib.import_module(f"servefit.{layer}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for one in vars(importlib.import_module(module.name)).values():
                if isinstance(one, type) and one.__module__ == module.name and dataclasses.is_dataclass(one):
                    found.setdefault(one.__name__, []).append(one)
    return found


KNOWN = _results()


def _named(annotation: object, module: str) -> Iterator[type]:
    there = vars(importlib.import_module(module))
    for name in re.findall(r"\w+", str(annotation)):
        # Where a module is only imported for type checkers, any dataclass of that name will do.
        yield from [there[name]] if name in there else KNOWN.get(name, ())


def _held(one: Any) -> Iterator[type]:
    """What a function gives, or what the fields, properties and methods of a dataclass do, by their annotations."""
    if inspect.isfunction(one):
        yield from _named(one.__annotations__.get("return"), one.__module__)
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            yield from _named(field.type, one.__module__)
        for name, member in vars(one).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if not name.startswith("_") and inspect.isfunction(function):
                yield from _held(function)


def _public_results() -> list[type]:
    """The dataclasses that are public, and all that public functions and results give and hold."""
    found: set[type] = set()
    left: list[Any] = [getattr(servefit, name) for name in servefit.__all__]
    left += [held for function in left for held in _held(function)]
    while left:
        one = left.pop()
        if isinstance(one, type) and dataclasses.is_dataclass(one) and one not in found:
            found.add(one)
            left.extend(_held(one))
    return sorted(found, key=lambda one: f"{one.__module__}.{one.__name__}")


PUBLIC = _public_results()
OTHERS = [one for one in PUBLIC if one is not Job]
HOSTILE = '<script>alert("1")</script>&\n' * 20_000


def test_all_that_users_are_given_is_among_them() -> None:
    names = {one.__name__ for one in PUBLIC}
    assert names >= {
        "Artifact", "Compared", "Compilation", "Deployment", "Job", "LoadTest", "Measurement", "Model", "Payload",
        "Profiled", "Recommendation", "Run", "Samples", "ScalingPlan", "Step", "Summary", "TelemetryPoint", "Trial",
    }  # fmt: skip


@pytest.mark.parametrize("one", PUBLIC, ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_every_public_result_has_a_line_and_a_table(one: type) -> None:
    assert {"__repr__", "_repr_html_"} <= vars(one).keys()


class Table(HTMLParser):
    """The tags of a table, which is closed as it was opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_bounded(one: Any) -> None:
    line, table = repr(one), one._repr_html_()
    assert len(line) <= MOST_LETTERS
    assert "\n" not in line
    assert type(one).__name__ in line
    assert len(table) <= MOST_HTML
    assert Table(table).tags <= {"table", "caption", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("one", OTHERS, ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_whatever_a_result_holds_it_stays_short_and_is_escaped(one: type, values: tuple[object, ...]) -> None:
    for value in values:
        check_bounded(_made(one, value))


@pytest.fixture(scope="module")
def values() -> tuple[object, ...]:
    """What no result should be made of: long, deep, of another type, or a page of its own."""
    many = tuple(range(100_000))
    inner = _made(Configuration, HOSTILE)
    return (
        HOSTILE, Path("/x" * 2000), b"\0" * 8_000_000, many, (HOSTILE,) * 4, [[many] * 8] * 8,
        {HOSTILE: HOSTILE}, dict.fromkeys(many, 0.1), np.zeros((10_000, 30), np.float32), 1e300, 10**400, None,
        (inner,) * 1000, (_made(Measurement, (inner,) * 3),) * 3,
    )  # fmt: skip


def _made(one: type, value: object) -> Any:
    """A ``one`` all of whose fields are ``value``, right or wrong."""
    names = [field.name for field in dataclasses.fields(one)]
    if issubclass(one, Stored):
        struct: Any = type(one)
        unchecked = struct(one.__name__, (one,), {"__post_init__": lambda _: None}, frozen=True)
        return unchecked(**dict.fromkeys(names, value))
    made: Any = object.__new__(one)
    for name in names:
        object.__setattr__(made, name, value)
    return made


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    folder = tmp_path_factory.mktemp("shown")
    rows = np.random.default_rng(0).standard_normal((200, 5), dtype=np.float32)
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, rows[:, 0]), num_boost_round=2)
    booster.save_model(folder / "booster.ubj")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(folder / "state"))
        return servefit.profile(folder / "booster.ubj", payload=rows, duration_s=0.5, allow_noise=True)


def test_a_measurement_is_a_line_and_so_is_all_that_it_holds(profiled: Profiled) -> None:
    seen: set[str] = set()

    def check(one: Any) -> None:
        if isinstance(one, tuple):
            for member in one:
                check(member)
        elif dataclasses.is_dataclass(one):
            seen.add(type(one).__name__)
            check_bounded(one)
            for field in dataclasses.fields(one):
                check(getattr(one, field.name))

    check(profiled)
    assert seen >= {"Profiled", "Measurement", "Run", "Samples", "Summary", "TelemetryPoint", "Host", "Model"}
    assert len(pickle.dumps(profiled)) > 20 * MOST_LETTERS


def test_the_figures_are_in_it_and_the_samples_are_counted(profiled: Profiled) -> None:
    summary: Any = profiled.summary
    assert repr(summary).startswith("Summary(loop='closed', throughput_per_s=")
    assert f"samples={summary.samples}, latency_ms={{'p50': 0." in repr(summary)
    assert f"scheduled=<{len(profiled.run.samples.scheduled):,} bytes>" in repr(profiled.run.samples)
    assert ">throughput_per_s</th>" in summary._repr_html_()


def test_it_is_what_it_was_but_for_that(profiled: Profiled) -> None:
    measurement = profiled.measurement
    assert pickle.loads(pickle.dumps(measurement)) == measurement
    assert dataclasses.replace(measurement, load_s=1.0).load_s == 1.0
    assert not hasattr(measurement, "__dict__")
    with pytest.raises(AttributeError):
        measurement.load_s = 1.0  # type: ignore[misc]


@shown("size", "doubled")
@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    name: str
    size: float = 1.0

    @property
    def doubled(self) -> float:
        return 2 * self.size


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    name: str
    sizes: tuple[int, ...] = ()
    inner: Named | None = None


def test_a_line_has_what_is_named_or_what_differs_from_its_default() -> None:
    assert repr(Named(name="a", size=39512.3)) == "Named(size=39500, doubled=79000, ...)"
    assert repr(Plain(name="a")) == "Plain(name='a')"
    assert repr(Plain(name="a", sizes=(1, 2), inner=Named(name="b"))) == (
        "Plain(name='a', sizes=(1, 2), inner=Named(size=1, doubled=2, ...))"
    )
    assert repr(Plain(name="a", sizes=tuple(range(1000)))) == "Plain(name='a', sizes=<1,000 x int>)"


def test_a_table_has_every_field_those_named_first() -> None:
    table = Named(name="<b>", size=39512.3)._repr_html_()  # type: ignore[attr-defined]
    assert re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", table) == [
        "size", "39,500", "doubled", "79,000", "name", "&lt;b&gt;",
    ]  # fmt: skip


def test_a_cell_of_a_notebook_stays_small(profiled: Profiled) -> None:
    """As Jupyter keeps it: the text and the table, as JSON."""
    one: Any = profiled
    kept = json.dumps({"data": {"text/html": one._repr_html_(), "text/plain": repr(one)}})
    assert len(kept) < 10_000
