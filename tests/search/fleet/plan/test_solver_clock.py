"""The time of a search, on machines that give it a part of a CPU. The solver and both clocks are made up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from servefit.search.fleet.plan.solver_clock import MAX_SLOWDOWN, SolverClock


@dataclass
class Machine:
    """Gives a solver ``part`` of a CPU, of which its program ``needs_s``."""

    part: float
    needs_s: float
    cpu_s: float = 0.0
    wall_s: float = 0.0
    limits_s: list[float] = field(default_factory=list)

    def milp(self, costs: Any, *, options: dict[str, float]) -> Machine:
        self.limits_s.append(options["time_limit"])
        took_s = options["time_limit"]
        if self.part * took_s >= self.needs_s:
            took_s = self.needs_s / self.part
        self.wall_s += took_s
        self.cpu_s += self.part * took_s
        self.is_solved = self.part * took_s >= self.needs_s
        return self

    @property
    def status(self) -> int:
        return 0 if self.is_solved else 1

    def solve(self, monkeypatch: pytest.MonkeyPatch, *, limit_s: float) -> int:
        monkeypatch.setattr("scipy.optimize.milp", self.milp)
        clock = SolverClock(cpu_s=lambda: self.cpu_s, wall_s=lambda: self.wall_s)
        clock.solve(np.ones(1), limit_s=limit_s, gap=0.0)
        return self.status


def test_a_program_has_its_cpu_time_however_busy_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(part=1 / 6, needs_s=2.5)
    assert machine.solve(monkeypatch, limit_s=3.5) == 0
    assert machine.limits_s == pytest.approx([3.5, 17.5])


def test_a_program_that_had_its_cpu_time_is_not_solved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(part=1, needs_s=60)
    assert machine.solve(monkeypatch, limit_s=3.5) == 1
    assert machine.limits_s == [3.5]


def test_no_more_cpu_time_is_used_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(part=0.3, needs_s=60)
    assert machine.solve(monkeypatch, limit_s=3.5) == 1
    assert machine.cpu_s == pytest.approx(3.5)


def test_a_search_that_gets_no_cpu_ends_by_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(part=0, needs_s=1)
    assert machine.solve(monkeypatch, limit_s=3.5) == 1
    assert machine.wall_s <= MAX_SLOWDOWN * 3.5
