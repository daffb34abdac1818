"""Runs the suite for scripts/test, once the environment is there: its parts, their budgets, and nothing left behind.

Every part runs, also after another one failed; all failures are told at the end. ``test-results`` keeps a report of
each part of the tests, in JUnit's format, and the output of what runs beside them. ``tests/kinds.py`` says which
kinds of tests there are.

All that the parts start ends with this program, however it ends: two processes watch each other, and each ends what the
other leaves behind when that is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import tomllib
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "test-results"
BUDGETS = ROOT / "tests/budgets.toml"
DEAREST = 20
"""So many tests are printed, by what they took."""
_MARK = "SUITE_RUN"
"""The variable that all have which the suite starts."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A command of the suite, by the name under which its output is kept. Tests that ``may_be_empty`` pass without any
    if another part has some."""

    name: str
    command: tuple[str, ...]
    may_be_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """The seconds of a test, of its fixtures too, and its kind."""

    name: str
    kind: str
    seconds: float


def style() -> list[Part]:
    return [
        Part(name="ruff", command=("ruff", "check", "--quiet")),
        Part(name="format", command=("ruff", "format", "--check", "--quiet")),
        Part(name="contracts", command=("lint-imports", "--no-logo")),
    ]


TYPES = Part(name="types", command=("mypy",))
FUZZERS = [
    Part(name="artifacts", command=("scripts/fuzz_artifacts", "60")),
    Part(name="bodies", command=("scripts/fuzz_bodies", "60")),
]


def tests(name: str, which: str, arguments: Sequence[str], *, together: bool) -> Part:
    """The tests that an expression of marks selects: several processes of them ``together``, or one."""
    # Many tests wait for what they started, so there are three processes for two CPUs.
    several = ("--numprocesses", str((len(os.sched_getaffinity(0)) * 3 + 1) // 2), "--dist", "worksteal")
    report = f"--junitxml={RESULTS / name}.xml"
    return Part(name=name, command=("pytest", *(several if together else ()), "-m", which, report, *arguments))


def tests_in_two_parts(which: str, arguments: Sequence[str]) -> list[Part]:
    """All tests but the timed ones together, then those. To read all files takes a quarter of a minute, so the first
    part lists the files that the second one needs."""
    listing = RESULTS / "timed.txt"
    return [
        tests("together", f"not timed{which}", (f"--list-timed={listing}", *arguments), together=True),
        tests("timed", f"timed{which}", (*arguments, f"@{listing}"), together=False),
    ]


def parts_of(arguments: Sequence[str]) -> tuple[list[Part], list[Part], list[Part]]:
    """The parts that run first, those that run beside tests, and the tests, for the arguments of scripts/test."""
    match arguments:
        case ["--unit", *rest]:
            return [], [], [tests("unit", "not integration and not timed and not thorough", rest, together=True)]
        case ["--thorough", *rest]:
            drawing = ("--hypothesis-profile=drawing", *rest)
            if rest:
                together = tests("together", "not timed", drawing, together=True)
                timed = tests("timed", "timed", drawing, together=False)
                # which need not have tests of both
                return style(), [], [replace(part, may_be_empty=True) for part in (together, timed)]
            mutations = Part(name="mutations", command=("scripts/mutate", "--minutes", "6"))
            return style(), [TYPES, *FUZZERS], [*tests_in_two_parts("", drawing), mutations]
        case []:
            return style(), [TYPES], tests_in_two_parts(" and not thorough", ())
        case rest:
            return [*style(), TYPES], [], [Part(name="tests", command=("pytest", *rest))]


def run(parts: Sequence[Part]) -> list[str]:
    """Run parts one after the other; gives the names of those that failed."""
    return [part.name for part in parts if subprocess.run(part.command, cwd=ROOT, check=False).returncode]


def start(part: Part) -> subprocess.Popen[bytes]:
    with (RESULTS / f"{part.name}.log").open("wb") as log:
        return subprocess.Popen(part.command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def run_suite(arguments: Sequence[str]) -> int:
    """Run the parts that ``arguments`` ask for, tell what they took and which failed.

    Returns:
        0, or 1 if a part failed or took more than its budget.
    """
    begun = time.monotonic()
    first, beside_tests, of_tests = parts_of(arguments)
    for part in of_tests:
        (RESULTS / f"{part.name}.xml").unlink(missing_ok=True)
    (RESULTS / "timed.txt").write_text("", encoding="utf-8")  # else the timed tests read all files
    failed = run(first)
    running = {part.name: start(part) for part in beside_tests}
    empty = []
    for part in of_tests:
        status = subprocess.run(part.command, cwd=ROOT, check=False).returncode
        if part.may_be_empty and status == pytest.ExitCode.NO_TESTS_COLLECTED:
            empty.append(part.name)
        elif status:
            failed.append(part.name)
        # The first of the tests share the machine with these; timed ones do not.
        for name, process in running.items():
            if process.wait():
                failed.append(name)
                print(f"{name} failed:\n{(RESULTS / f'{name}.log').read_text(errors='replace')}")
        running = {}
    if len(empty) == len(of_tests):
        failed += empty
    if not arguments or arguments[0] in ("--unit", "--thorough"):
        durations = [timed for part in of_tests for timed in read_durations(RESULTS / f"{part.name}.xml")]
        tell(durations)
        if not arguments:
            failed += over_budget(durations)
    print(f"{time.monotonic() - begun:.0f} s; " + (f"failed: {', '.join(failed)}" if failed else "all passed"))
    return 1 if failed else 0


def read_durations(report: Path) -> list[Timed]:
    """The tests in a report of pytest; none where pytest did not come to write it."""
    if not report.exists():
        return []
    return [
        Timed(
            name=f"{case.get('classname', '')}.{case.get('name', '')}",
            kind=next((p.get("value", "") for p in case.iter("property") if p.get("name") == "kind"), ""),
            seconds=float(case.get("time", 0)),
        )
        for case in ElementTree.parse(report).iter("testcase")
    ]


def tell(durations: Sequence[Timed]) -> None:
    """Print the dearest tests, and the minutes of each kind."""
    for timed in sorted(durations, key=lambda timed: -timed.seconds)[:DEAREST]:
        print(f"{timed.seconds:7.1f} s  {timed.kind:11}  {timed.name}")
    by_kind: defaultdict[str, float] = defaultdict(float)
    for timed in durations:
        by_kind[timed.kind or "crashed"] += timed.seconds
    counted = Counter(timed.kind or "crashed" for timed in durations)
    for kind, seconds in by_kind.items():
        print(f"{seconds / 60:6.1f} min in {counted[kind]} {kind} tests")


def over_budget(durations: Sequence[Timed]) -> list[str]:
    """The kinds and folders whose tests took more seconds, all together, than ``tests/budgets.toml`` gives them."""
    budgets = tomllib.loads(BUDGETS.read_text(encoding="utf-8"))
    spent: defaultdict[str, float] = defaultdict(float)
    for timed in durations:
        if timed.kind:  # a process that crashed told none
            spent[f"kind {timed.kind}"] += timed.seconds
        folders = [folder for folder in budgets["folders"] if timed.name.startswith(f"tests.{folder}.")]
        spent[f"folder {max(folders, key=len, default='.')}"] += timed.seconds
    given = {
        **{f"kind {kind}": seconds for kind, seconds in budgets["kinds"].items()},
        **{f"folder {folder}": seconds for folder, seconds in budgets["folders"].items()},
    }
    return [
        f"{name} took {seconds:.0f} s of {given.get(name, 0)} (tests/budgets.toml)"
        for name, seconds in spent.items()
        if seconds > given.get(name, 0)
    ]


def kept_together(program: Callable[[], int]) -> int:
    """Run ``program`` in a child process, and end all that it started when it ends, or when either process is killed.

    Returns:
        The status of ``program``.
    """
    parent, os.environ[_MARK] = os.getpid(), f"{os.getpid()}-{time.monotonic_ns()}"
    # Processes that lose their parent become this one's children, and are waited for below.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.signal(signal.SIGTERM, _leave)
        status = 1
        try:
            status = program() if os.getppid() == parent else 1
        except KeyboardInterrupt:
            status = 130
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
        except Exception:  # noqa: BLE001 - Python would print it later, and os._exit comes first
            traceback.print_exc()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            end_others(but=parent)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child too
    ended = status = 0
    while ended != child:
        ended, status = os.waitpid(-1, 0)
    end_others(but=child)
    return os.waitstatus_to_exitcode(status)


def end_others(*, but: int) -> None:
    """Kill the processes below this one, and those that have its mark in their environment, ``but`` for one."""
    while left := [
        process for process in psutil.process_iter() if process.pid not in (os.getpid(), but) and _is_ours(process)
    ]:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _is_ours(process: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        below = any(above.pid == os.getpid() for above in process.parents())
        return below or process.environ().get(_MARK) == os.environ[_MARK]
    except psutil.Error:
        return False


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _leave(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    RESULTS.mkdir(exist_ok=True)
    sys.exit(kept_together(lambda: run_suite(sys.argv[1:])))
