"""Orders that are carried out on this host: what they say is what the loads do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.simulated import SimulatedDriver
from tests.report.story import MODEL, PAYLOAD, PROFILES, configuration, simulated_host

from servefit.profiler.record.traffic import OpenLoop
from servefit.search.jobs import measurer
from servefit.search.jobs.deployments import Deployments
from servefit.search.jobs.measurer import LocalMeasurer
from servefit.search.jobs.orders import Load, Started
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.measure_trial import Durations
from servefit.search.storage.header import JobHeader
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.record.types import Run, Traffic
    from servefit.search.jobs.cpu_slots import CpuSlot
    from servefit.search.results.recommendation import Trial

SHORT = Durations(capacity_s=0.1, at_rate_s=0.5, at_rate_max_s=0.5)
REQUEST = JobRequest(name="job", sla=Sla(thresholds=parse_sla("p95=300us"), rate_per_s=400.0), deploy="library")
"""A limit that is kept, but not by far: it takes the requests of a load to say so."""


@dataclass(slots=True, kw_only=True)
class Remembering(SimulatedDriver):
    """A simulated driver that adds the open loops that it carries out to ``loops``."""

    loops: list[OpenLoop]

    def run(self, traffic: Traffic, **options: Any) -> Run:
        if isinstance(traffic, OpenLoop):
            self.loops.append(traffic)
        return SimulatedDriver.run(self, traffic, **options)


@dataclass(slots=True, kw_only=True)
class Simulated(Deployments):
    """Deployments whose workers answer in 0.1 ms."""

    loops: list[OpenLoop] = field(default_factory=list)
    started: list[tuple[Started, int | None]] = field(default_factory=list)

    def asked_for(
        self, configuration: Any, slot: CpuSlot, *, memory_bytes: int | None
    ) -> AbstractContextManager[MeasuredDriver]:
        return self._start("asked", configuration, memory_bytes)

    def other(self, configuration: Any, *, memory_bytes: int | None) -> AbstractContextManager[MeasuredDriver]:
        return self._start("other", configuration, memory_bytes)

    def _start(
        self, started: Started, configuration: Any, memory_bytes: int | None
    ) -> AbstractContextManager[MeasuredDriver]:
        self.started.append((started, memory_bytes))
        return nullcontext(Remembering(configuration=configuration, service_us=100.0, loops=self.loops))


CarryOut = Callable[..., tuple["Trial", Simulated]]


def order_of(**facts: Any) -> Load:
    usual: dict[str, Any] = {
        "configuration": configuration("forest"),
        "request": REQUEST,
        "durations": SHORT,
        "started": "asked",
        "memory_bytes": 2**30,
        "seed": 5,
        "step": 7,
        "instances": 1,
    }
    return Load(**usual | facts)


@pytest.fixture
def carried_out(tmp_path: Path) -> CarryOut:
    """Carries out an order with these facts, and gives what came of it and what was started."""

    def carry_out(**facts: Any) -> tuple[Trial, Simulated]:
        header = JobHeader(
            request=JobRequest(name="job", deploy="library"),
            model=MODEL,
            payload=PAYLOAD,
            host=simulated_host(),
            profiles=PROFILES,
            servefit="1",
            created_at=0,
        )
        nothing: Any = None
        local = LocalMeasurer(header=header, payload=nothing, folder=tmp_path, log=nothing)
        local.deployments = deployments = Simulated(header=header, payload=nothing)
        return local.load(order_of(**facts)), deployments

    return carry_out


def test_every_run_of_an_order_has_arrivals_of_its_own_and_they_come_from_its_seed(carried_out: CarryOut) -> None:
    def seeds(seed: int) -> list[int]:
        _, deployments = carried_out(runs=3, seed=seed)
        return [loop.seed for loop in deployments.loops]

    one, other = seeds(5), seeds(6)
    assert len({*one, *other}) == 6
    assert seeds(5) == one


def test_the_last_run_of_an_order_has_the_time_to_spare(carried_out: CarryOut) -> None:
    _, deployments = carried_out(runs=3, spare_s=0.75)
    assert [loop.duration_s for loop in deployments.loops] == [0.5, 0.5, 1.25]


def test_a_run_that_took_twice_as_long_is_not_taken_for_the_length_of_the_next(
    carried_out: CarryOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs take 5, 9 and 5 of 20 seconds: one that the machine disturbed was made again."""
    now_s, take_s = [0.0], iter([5.0, 9.0, 5.0])
    start = Simulated._start

    def started(*facts: Any) -> AbstractContextManager[MeasuredDriver]:
        now_s[0] += next(take_s)
        return start(*facts)

    monkeypatch.setattr(Simulated, "_start", started)
    monkeypatch.setattr(measurer, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    with time_limit(lambda: 20.0 - now_s[0]):
        _, deployments = carried_out(runs=3)
    assert len(deployments.loops) == 3


@pytest.mark.parametrize("runs", [1, 3])
def test_a_pass_of_an_order_takes_the_more_evidence_the_more_chances_it_is_one_of(
    carried_out: CarryOut, runs: int
) -> None:
    assert carried_out(runs=runs, chances=1)[0].verdict == "PASS"
    assert carried_out(runs=runs, chances=10**15)[0].verdict == "UNDECIDED"


def test_the_rate_is_that_of_the_order_shared_by_its_instances(carried_out: CarryOut) -> None:
    trial, deployments = carried_out(runs=2, instances=4, nth_round=3)
    assert (trial.instance_count, trial.round) == (4, 3)
    assert [loop.rate_per_s for loop in deployments.loops] == [100.0, 100.0]


def test_the_runs_after_the_first_have_the_number_of_instances_that_the_first_chose(carried_out: CarryOut) -> None:
    busy = JobRequest(name="job", sla=Sla(thresholds=parse_sla("p95=300us"), rate_per_s=9000.0), deploy="library")
    trial, deployments = carried_out(runs=3, instances=None, request=busy)
    assert trial.instance_count == 3
    assert [loop.rate_per_s for loop in deployments.loops] == [4500.0, 3000.0, 3000.0, 3000.0]
    assert len({loop.seed for loop in deployments.loops}) == 4


def test_each_run_has_processes_of_its_own_in_the_memory_of_the_order(carried_out: CarryOut) -> None:
    assert carried_out(runs=2)[1].started == [("asked", 2**30)] * 2
    assert carried_out(started="other")[1].started == [("other", 2**30)]


def test_what_was_recorded_is_kept_under_the_number_of_the_step(carried_out: CarryOut, tmp_path: Path) -> None:
    trial, _ = carried_out()
    assert trial.kept_in == "measurements/0007.servefit"
    assert (tmp_path / trial.kept_in).exists()
