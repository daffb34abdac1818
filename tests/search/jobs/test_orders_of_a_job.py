"""The orders that a job gives: what was asked of the job, and what its tasks say, is in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from tests.report.story import MODEL, PAYLOAD, PROFILES, configuration, simulated_host

from servefit.errors import MeasurementError
from servefit.search.jobs.job_bench import JobBench
from servefit.search.jobs.orders import Load, Order, SurveyEndpoint, TimeCalls
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.confirmation_plan import MAX_CONFIRMATIONS, ConfirmationPlan
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.measure_trial import Durations
from servefit.search.storage.header import JobHeader
from servefit.search.storage.steps import Step

if TYPE_CHECKING:
    from servefit.search.jobs.cpu_slots import CpuSlot
    from servefit.search.storage.steps import Attempt, StepKind

SUBJECT = configuration("xgboost")
EACH = Durations(capacity_s=1.0, at_rate_s=2.0, at_rate_max_s=3.0)
FIVE_RUNS = ConfirmationPlan(runs=5, each=EACH, spare_s=1.5)


@dataclass
class InMemory:
    """The log of a job that nobody keeps."""

    header: JobHeader
    begun: int = 0

    def stop_requested(self) -> bool:
        return False

    @contextmanager
    def step(self, kind: StepKind, backend: str, subject: Any, *, attempt: Attempt | None) -> Iterator[Step]:
        self.begun += 1
        yield Step(
            number=self.begun,
            kind=kind,
            status="RUNNING",
            backend=backend,
            configuration=subject,
            host_fingerprint=self.header.host.fingerprint,
            began_at=0.0,
            attempt=attempt,
        )

    def finish(self, step: Step, **_: Any) -> None: ...


@dataclass
class Refusing:
    """Measures nothing, and remembers what it was asked for."""

    orders: list[Order] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def attempt(self) -> None: ...

    def compile(self, clock: Clock, progress: Any) -> NoReturn:
        raise AssertionError("nothing is compiled here")

    def time_calls(self, order: TimeCalls, attempt: Attempt | None, /) -> NoReturn:
        self._refuse(order)

    def survey_endpoint(self, order: SurveyEndpoint, attempt: Attempt | None, /) -> NoReturn:
        self._refuse(order)

    def load(self, order: Load, attempt: Attempt | None, /, slot: CpuSlot | None = None) -> NoReturn:
        self._refuse(order)

    def _refuse(self, order: Order) -> NoReturn:
        self.orders.append(order)
        raise MeasurementError("nothing is measured here")


@dataclass
class Asking:
    """The bench of a job by ``request``, and the orders that it has given."""

    request: JobRequest
    measurer: Refusing = field(default_factory=Refusing)
    bench: JobBench = field(init=False)

    def __post_init__(self) -> None:
        host = simulated_host()
        header = JobHeader(
            request=self.request, model=MODEL, payload=PAYLOAD, host=host, profiles=PROFILES, servefit="1", created_at=0
        )
        log: Any = InMemory(header)
        clock = Clock(limit_s=100.0, test_limit=100)
        self.bench = JobBench(log=log, measurer=self.measurer, clock=clock, progress=SilentProgress(), remarks=[])

    @property
    def loads(self) -> list[Load]:
        return [order for order in self.measurer.orders if isinstance(order, Load)]


def job_of(*, seed: int = 0, rate_per_s: float | None = None, goal: Any = "cost") -> Asking:
    sla = Sla(thresholds=parse_sla("p95=20ms"), rate_per_s=rate_per_s)
    return Asking(JobRequest(name="job", seed=seed, sla=sla, goal=goal, deploy="library", over_http=False))


def seeds_of(seed: int) -> list[int]:
    """Those of a timing of calls, of two confirmations, and of three turns, in two rounds."""
    job = job_of(seed=seed)
    job.bench.time(SUBJECT, (1,))
    job.bench.confirm(SUBJECT, FIVE_RUNS)
    job.bench.confirm(SUBJECT, FIVE_RUNS)
    job.bench.in_turn(SUBJECT, 0, 1)
    job.bench.in_turn(replace(SUBJECT, workers=2), 0, 1)
    job.bench.in_turn(SUBJECT, 1, 1)
    return [order.seed for order in job.measurer.orders if not isinstance(order, SurveyEndpoint)]


def test_what_a_job_measures_has_other_arrivals_with_another_seed_and_the_same_with_the_same() -> None:
    one, other = seeds_of(7), seeds_of(8)
    assert not {*one} & {*other}
    assert seeds_of(7) == one


def test_only_those_that_take_turns_in_a_round_have_the_same_arrivals() -> None:
    timing, confirmation, again, turn, rival, next_turn = seeds_of(7)
    assert rival == turn
    assert len({timing, confirmation, again, turn, next_turn}) == 5


def test_a_confirmation_is_ordered_in_the_runs_of_its_plan_and_its_pass_is_one_of_several() -> None:
    job = job_of(rate_per_s=500.0)
    job.bench.confirm(SUBJECT, FIVE_RUNS)
    (order,) = job.loads
    assert (order.configuration, order.durations, order.runs, order.spare_s) == (SUBJECT, EACH, 5, 1.5)
    assert (order.chances, order.instances, order.nth_round) == (MAX_CONFIRMATIONS, None, None)
    assert order.request == job.request


def test_a_confirmation_at_a_rate_is_ordered_for_as_many_instances_as_carry_all_of_it() -> None:
    job = job_of(rate_per_s=500.0)
    job.bench.confirm(SUBJECT, FIVE_RUNS, rate_per_s=120.0)
    (order,) = job.loads
    assert (order.instances, order.request.sla.rate_per_s) == (5, 600.0)
    assert order.request.sla.thresholds == job.request.sla.thresholds


@pytest.mark.parametrize(("rate_per_s", "instances"), [(100.0, 5), (500 / 3, 3), (499.0, 2), (501.0, 1)])
def test_a_share_of_the_rate_takes_no_instance_more_for_the_rounding_of_a_division(
    rate_per_s: float, instances: int
) -> None:
    job = job_of(rate_per_s=500.0)
    job.bench.confirm(SUBJECT, FIVE_RUNS, rate_per_s=rate_per_s)
    assert job.loads[0].instances == instances


def test_a_turn_is_ordered_for_its_round_with_the_instances_of_the_test_before() -> None:
    job = job_of(rate_per_s=500.0, goal="latency")
    job.bench.in_turn(SUBJECT, 3, 4)
    (order,) = job.loads
    assert (order.nth_round, order.instances, order.runs, order.chances) == (3, 4, 1, 1)
    assert order.request.sla == Sla(rate_per_s=500.0)


def test_the_other_deployment_is_ordered_beside_the_winner() -> None:
    job = job_of()
    job.bench.confirm(SUBJECT, FIVE_RUNS)
    job.bench.beside(SUBJECT)
    assert [(order.started, order.step) for order in job.loads] == [("asked", 1), ("other", 2)]


def test_calls_are_timed_in_the_sizes_asked_for_in_the_largest_memory_that_fits() -> None:
    job = job_of()
    job.bench.time(replace(SUBJECT, vcpus=2, max_batch=8), (1, 8))
    (order,) = job.measurer.orders
    assert isinstance(order, TimeCalls)
    assert (order.sizes, order.memory_bytes) == ((1, 8), PROFILES[1].memory_bytes)
