"""Backends are compiled two at once: none twice, none left running, and what one raises is raised in its turn."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from itertools import count
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests.report.story import Story, simulated_host

from servefit.backends import compilation
from servefit.backends.model import Model
from servefit.backends.payload.synthetic import synthetic_payload
from servefit.errors import StateError
from servefit.isolation import call_isolated
from servefit.search.fleet.compiling import CompilationNotes
from servefit.search.jobs.compilation_rules import may_be_compiled_beside
from servefit.search.jobs.compile_candidates import compile_candidates
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.job_request import JobRequest

if TYPE_CHECKING:
    from servefit.search.jobs.compile_candidates import CompiledCandidates
    from servefit.search.optimizer.progress import Moment

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("state_of_module")]

BACKENDS = ("xgboost", "treelite", "forest")
NUMBERS = count()
COMPILE = compilation.compile_again


@dataclass
class Compiler:
    """Compiles as servefit does, and takes note of when. ``instead`` is what a backend's compilation does in place of
    that."""

    instead: dict[str, Any] = field(default_factory=dict)
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)

    def compile_again(self, model: Model, backend: str, **options: Any) -> compilation.Compilation:
        began = time.monotonic()
        try:
            if backend in self.instead:
                self.begun.set()
                self.instead[backend]()
            return COMPILE(model, backend, **options)
        finally:
            self.spans.append((backend, began, time.monotonic()))

    def at_once(self) -> int:
        """The most compilations that ran at a time."""
        return max(sum(begin <= at < end for _, begin, end in self.spans) for _, at, _ in self.spans)


class Interrupting(SilentProgress):
    """Is interrupted as by Ctrl-C when a backend's turn comes and another one is being compiled."""

    def __init__(self, compiler: Compiler, turn: str) -> None:
        self.compiler, self.turn = compiler, turn

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text.startswith(f"compiling with {self.turn}"):
            assert self.compiler.begun.wait(30)
            raise KeyboardInterrupt


def compiled(
    monkeypatch: pytest.MonkeyPatch,
    file: Path,
    compiler: Compiler,
    *,
    cpus: int = 2,
    backends: tuple[str, ...] = BACKENDS,
    progress: SilentProgress | None = None,
    spent_s: float = 0.0,
) -> tuple[CompiledCandidates, CompilationNotes]:
    monkeypatch.setattr(compilation, "compile_again", compiler.compile_again)
    host = simulated_host()
    model = Model.load(file)
    request = JobRequest(name=f"beside-{next(NUMBERS)}", backends=backends)
    header = replace(Story.of(request, host=replace(host, cpus=host.cpus[:cpus])).header, model=model)
    notes = CompilationNotes(header=header, before=())
    clock = Clock(limit_s=120.0, test_limit=inf, elapsed_before_s=spent_s)
    return compile_candidates(notes, synthetic_payload(model), clock, progress or SilentProgress()), notes


def test_two_are_compiled_at_once_and_none_twice(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    compiler = Compiler()
    found, notes = compiled(monkeypatch, model, compiler)
    assert sorted(artifact.backend for artifact in found.artifacts) == sorted(BACKENDS)
    assert sorted(backend for backend, *_ in compiler.spans) == sorted(BACKENDS)
    assert [step.status for step in notes.ended] == ["COMPLETED"] * len(BACKENDS)
    assert compiler.at_once() == 2
    # What the others are compared with is known before they are compiled.
    first, *others = sorted(compiler.spans, key=lambda span: span[1])
    assert first[0] == "xgboost"
    assert all(begin >= first[2] for _, begin, _ in others)


def test_on_one_cpu_they_are_compiled_one_by_one(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    compiler = Compiler()
    compiled(monkeypatch, model, compiler, cpus=1)
    assert compiler.at_once() == 1


def test_a_large_model_is_compiled_by_one_at_a_time() -> None:
    host = simulated_host(memory_bytes=4 * 2**30)
    small = Story.of(JobRequest(name="sizes")).header.model
    assert may_be_compiled_beside(host, replace(small, size_bytes=2**20))
    assert not may_be_compiled_beside(host, replace(small, size_bytes=2**26))


def test_when_much_of_the_time_is_over_one_backend_is_compiled_beside_the_library_of_the_model(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))  # where nothing is compiled yet
    found, _ = compiled(monkeypatch, model, Compiler(), backends=(), spent_s=60.0)
    reference, beside = [artifact.backend for artifact in found.artifacts]
    assert reference == "xgboost"
    late = {skipped.name for skipped in found.skipped if "were used before it was its turn" in skipped.reason}
    assert {"treelite", "forest", "onnxruntime"} - late == {beside}


def test_what_is_in_the_cache_has_no_time_below_zero(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    compiled(monkeypatch, model, Compiler())
    late = Compiler()
    found, notes = compiled(monkeypatch, model, late, spent_s=121.0)
    assert (found.artifacts, found.remarks, notes.ended, late.spans) == ([], [], [], [])
    assert {skipped.name for skipped in found.skipped} == set(BACKENDS)
    assert all("were used before it was its turn" in skipped.reason for skipped in found.skipped)


def test_what_is_compiled_beside_ends_with_an_interruption(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    compiler = Compiler(instead={"forest": lambda: call_isolated("time:sleep", 600, timeout_s=600)})
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        compiled(monkeypatch, model, compiler, progress=Interrupting(compiler, "forest"))
    assert time.monotonic() - began < 60
    assert not [child for child in psutil.Process().children(recursive=True) if "isolated" in " ".join(child.cmdline())]


def test_an_error_of_what_is_compiled_beside_is_raised_in_its_turn(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    def full() -> None:
        raise StateError(Path("artifacts"), "the disk is full")

    with pytest.raises(StateError, match="the disk is full"):
        compiled(monkeypatch, model, Compiler(instead={"forest": full}))
