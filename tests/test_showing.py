"""Every result has a short text form, and a small table in a notebook."""

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
from servefit.showing import MAX_LETTERS, one_line, shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servefit.profiler.procedures.profile import Profiled

MAX_HTML = 50_000


def _results() -> dict[str, list[type]]:
    """All dataclasses of servefit by their names."""
    found: dict[str, list[type]] = {}
    for layer in ("backends", "profiler", "search"):
        package = importlib.import_module(f"servefit.{layer}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for member in vars(importlib.import_module(module.name)).values():
                if isinstance(member, type) and member.__module__ == module.name and dataclasses.is_dataclass(member):
                    found.setdefault(member.__name__, []).append(member)
    return found


KNOWN = _results()


def _named(annotation: object, module: str) -> Iterator[type]:
    there = vars(importlib.import_module(module))
    for name in re.findall(r"\w+", str(annotation)):
        # Where a module is only imported for type checkers, any dataclass of that name will do.
        yield from [there[name]] if name in there else KNOWN.get(name, ())


def _held(holder: Any) -> Iterator[type]:
    """What a function gives, or what the fields, properties and methods of a dataclass do, by their annotations."""
    if inspect.isfunction(holder):
        yield from _named(holder.__annotations__.get("return"), holder.__module__)
    elif dataclasses.is_dataclass(holder):
        for field in dataclasses.fields(holder):
            yield from _named(field.type, holder.__module__)
        for name, member in vars(holder).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if not name.startswith("_") and inspect.isfunction(function):
                yield from _held(function)


def _public_results() -> list[type]:
    """The dataclasses that are public, and all that public functions and results give and hold."""
    found: set[type] = set()
    left: list[Any] = [getattr(servefit, name) for name in servefit.__all__]
    left += [held for function in left for held in _held(function)]
    while left:
        candidate = left.pop()
        if isinstance(candidate, type) and dataclasses.is_dataclass(candidate) and candidate not in found:
            found.add(candidate)
            left.extend(_held(candidate))
    return sorted(found, key=lambda candidate: f"{candidate.__module__}.{candidate.__name__}")


PUBLIC = _public_results()
OTHERS = [result_type for result_type in PUBLIC if result_type is not Job]
HOSTILE = '<script>alert("1")</script>&\n' * 20_000


def test_all_that_users_are_given_is_among_them() -> None:
    names = {result_type.__name__ for result_type in PUBLIC}
    assert names >= {
        "Artifact", "Compared", "Compilation", "Deployment", "Job", "LoadTest", "Measurement", "Model", "Payload",
        "Profiled", "Recommendation", "Run", "Samples", "ScalingPlan", "Step", "Summary", "TelemetryPoint", "Trial",
    }  # fmt: skip


@pytest.mark.parametrize("result_type", PUBLIC, ids=lambda shown: f"{shown.__module__}.{shown.__name__}")
def test_every_public_result_has_a_line_and_a_table(result_type: type) -> None:
    assert {"__repr__", "_repr_html_"} <= vars(result_type).keys()


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


def check_bounded(result: Any) -> None:
    line, table = repr(result), result._repr_html_()
    assert len(line) <= MAX_LETTERS
    assert "\n" not in line
    assert type(result).__name__ in line
    assert len(table) <= MAX_HTML
    assert Table(table).tags <= {"table", "caption", "tbody", "tr", "th", "td"}


@pytest.mark.integration
@pytest.mark.parametrize("result_type", OTHERS, ids=lambda shown: f"{shown.__module__}.{shown.__name__}")
def test_whatever_a_result_holds_it_stays_short_and_is_escaped(result_type: type, values: tuple[object, ...]) -> None:
    for value in values:
        check_bounded(_made(result_type, value))


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


def _made(result_type: type, value: object) -> Any:
    """Return a ``result_type`` all of whose fields are ``value``, right or wrong."""
    names = [field.name for field in dataclasses.fields(result_type)]
    if issubclass(result_type, Stored):
        struct: Any = type(result_type)
        unchecked = struct(result_type.__name__, (result_type,), {"__post_init__": lambda _: None}, frozen=True)
        return unchecked(**dict.fromkeys(names, value))
    made: Any = object.__new__(result_type)
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


@pytest.mark.integration
def test_a_measurement_is_a_line_and_so_is_all_that_it_holds(profiled: Profiled) -> None:
    seen: set[str] = set()

    def check(value: Any) -> None:
        if isinstance(value, tuple):
            for member in value:
                check(member)
        elif dataclasses.is_dataclass(value):
            seen.add(type(value).__name__)
            check_bounded(value)
            for field in dataclasses.fields(value):
                check(getattr(value, field.name))

    check(profiled)
    assert seen >= {"Profiled", "Measurement", "Run", "Samples", "Summary", "TelemetryPoint", "Host", "Model"}
    assert len(pickle.dumps(profiled)) > 20 * MAX_LETTERS


@pytest.mark.integration
def test_the_figures_are_in_it_and_the_samples_are_counted(profiled: Profiled) -> None:
    summary: Any = profiled.summary
    assert repr(summary).startswith("Summary(loop='closed', throughput_per_s=")
    assert f"samples={summary.samples}, latency_ms={{'p50': 0." in repr(summary)
    assert f"scheduled=<{len(profiled.run.samples.scheduled):,} bytes>" in repr(profiled.run.samples)
    assert ">throughput_per_s</th>" in summary._repr_html_()


@pytest.mark.integration
def test_a_shown_result_is_otherwise_unchanged(profiled: Profiled) -> None:
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


@pytest.mark.integration
def test_a_cell_of_a_notebook_stays_small(profiled: Profiled) -> None:
    """As Jupyter keeps it: the text and the table, as JSON."""
    result: Any = profiled
    kept = json.dumps({"data": {"text/html": result._repr_html_(), "text/plain": repr(result)}})
    assert len(kept) < 10_000


def test_a_line_holds_no_control_character_and_the_escape_of_what_is_no_text() -> None:
    assert one_line("a\udcffb\x1b[2Jc\n d\u202ee \u65e5\u2028f") == "a\\udcffbc de \u65e5 f"
