"""The four kinds of tests, by what they may do, and what holds them to it.

A test without a mark is a unit test. Of the others a mark says the kind, ``pytestmark`` that of a whole module:

- unit: no process, no socket, no database, no sleep, and no more than a second or two. A unit test that does one of the
  first four fails, as far as Python tells of it: waits for locks and what libraries in C do themselves are not seen.
- integration: real libraries, processes and servers, and what computes for longer. Where a lease, a budget or a
  time-out is waited for, the test has a clock of its own.
- timed: asserts on real time, or needs two CPUs. Has the machine for itself.
- thorough: journeys, other versions, sanitizers, many hosts. ``scripts/test`` leaves these out, unless paths are given.

A test is of the last of these kinds that it is marked with: a thorough one that is timed too runs by itself.
``tests/suite.py`` says when each kind runs, and how long it may take.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

MARKED = {
    "integration": "starts processes, opens sockets or databases, waits, or computes for long",
    "timed": "asserts on real time, or needs two CPUs: has the machine for itself",
    "thorough": "runs in scripts/test --thorough alone",
}
FORBIDDEN: Mapping[str, str] = {
    **dict.fromkeys(("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"), "starts a process"),
    **dict.fromkeys(("socket.bind", "socket.connect"), "opens a socket"),
    "sqlite3.connect": "opens a database",
}
"""Python's audit events that a unit test may not raise, and what they say of it."""


def kind_of(item: pytest.Item) -> str:
    """The kind of a test: unit, integration, timed or thorough."""
    return next((kind for kind in reversed(MARKED) if item.get_closest_marker(kind) is not None), "unit")


class Kinds:
    """The plugin of pytest: writes the kind of each test into its report, and fails a unit test that does more."""

    def __init__(self) -> None:
        self._unit = False
        self._seen = ""
        self._older: set[int] = set()
        """Threads that ran before the test: they are those of fixtures."""
        self._setting_up: list[pytest.FixtureDef[Any]] = []
        self._did: dict[pytest.FixtureDef[Any], str] = {}
        """Fixtures that did what a unit test may not, when they were set up for another test."""
        self._process = os.getpid()

    def pytest_configure(self, config: pytest.Config) -> None:
        for kind, meaning in MARKED.items():
            config.addinivalue_line("markers", f"{kind}: {meaning}")
        sys.addaudithook(self._on_event)
        sleep = time.sleep

        @functools.wraps(sleep)  # so that it can be pickled, by its name
        def watched_sleep(seconds: float | SupportsIndex) -> None:
            self._note("sleeps")
            sleep(seconds)

        watched_sleep.__module__ = sleep.__module__ or "time"
        time.sleep = watched_sleep

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            item.user_properties.append(("kind", kind_of(item)))

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """List the files of timed tests that do not run, each in a line, for a run of these tests that reads no others.
        Of several processes, which all select the same, the first one writes."""
        listing = items[0].config.getoption("--list-timed") if items else None
        if listing and os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
            files = sorted({str(item.path) for item in items if item.get_closest_marker("timed") is not None})
            Path(listing).write_text("\n".join(files), encoding="utf-8")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._unit, self._seen = kind_of(item) == "unit", ""
        own = threading.get_ident()
        self._older = {ident for thread in threading.enumerate() if (ident := thread.ident) not in (None, own)}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._unit = False  # fixtures of other tests may end here

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        if self._unit and isinstance(item, pytest.Function):
            for name, fixtures in item._fixtureinfo.name2fixturedefs.items():
                if does := self._did.get(fixtures[-1]):
                    pytest.fail(f"a unit test uses the fixture {name}, which {does}: mark it (tests/kinds.py)")
        result = yield
        if self._unit and self._seen:  # and something caught what _note raised
            pytest.fail(f"a unit test {self._seen}: mark it (tests/kinds.py)")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        self._setting_up.append(fixturedef)
        try:
            return (yield)
        finally:
            self._setting_up.pop()

    def _on_event(self, event: str, details: tuple[Any, ...]) -> None:
        # joblib counts the cores by lscpu, once in a process: whichever test uses scikit-learn's threads first.
        if event in FORBIDDEN and not (event == "subprocess.Popen" and details[0] == "lscpu"):
            self._note(FORBIDDEN[event])

    def _note(self, does: str) -> None:
        if os.getpid() != self._process or threading.get_ident() in self._older:
            return
        if self._unit:
            self._seen = does
            pytest.fail(f"a unit test {does}: mark it (tests/kinds.py)")
        self._did.update(dict.fromkeys(self._setting_up, does))
