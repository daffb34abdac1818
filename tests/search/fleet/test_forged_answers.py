"""Answers that somebody has made up in the database: each is refused for what gives it away, and its order is lost."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import NullPool, create_engine, make_url, text
from tests.search.fleet.conftest import MakeHost, NewFleet, OpenJob, eventually, in_thread, open_jobs, rows
from tests.search.fleet.forged_results import CLIENT, ONE, PAIR, TIMES, host_of_two_cpus, kept, measured, pair, timing
from tests.search.fleet.load.made_parts import around, made_run, part_of

from servefit.backends.types import Target
from servefit.errors import AgentLost, MeasurementError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.storage.measurements import measurement_of
from servefit.profiler.record.types import Configuration, Measurement, Run, Samples
from servefit.search.fleet.checks.loads import MAX_BYTES
from servefit.search.fleet.checks.rates import TimedCalls
from servefit.search.fleet.compiling import Compile, Compiled, CompiledBackend
from servefit.search.fleet.host import FleetHost, Leases
from servefit.search.fleet.orders import Answer, Calibrate, Failure
from servefit.search.jobs.orders import Load, SurveyEndpoint, TimeCalls
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.results.measure_trial import SCREENING, Durations
from servefit.search.results.recommendation import Trial
from servefit.search.simulation.endpoint import EndpointCosts
from servefit.search.storage import records

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.search.fleet.orders import Order, Ordered
    from servefit.search.fleet.registry import Claim

pytestmark = pytest.mark.integration

HOST = "rack3-07"
RUNS = 3


@dataclass
class Fleet:
    """A job with a host, on which an order was carried out honestly: ``answer`` is what came of it."""

    job: OpenJob
    url: str
    claim: Claim
    order: Order
    answer: Answer
    known: TimedCalls

    def comes_of(self, answer: Answer, **columns: Any) -> Answer | BaseException:
        """What the job makes of ``answer``, and of other ``columns``, as they are written into the row of its order."""
        self.job.given += 1
        order = self.order = replace(self.order, token=f"order-{self.job.given}")
        columns = {"agent": self.claim.token, "answer": records.write(answer, Answer), **columns}
        with in_thread(lambda: self.job.dispatcher.ask(order, calls=lambda: self.known)) as found:
            eventually(lambda: bool(self.job.dispatcher.orders.states([order.token])))
            self._forge(order.token, columns)
            eventually(lambda: found != [])
        return found[0]  # type: ignore[return-value]

    def _forge(self, token: str, columns: dict[str, Any]) -> None:
        engine = create_engine(make_url(self.url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
        changes = ", ".join(f"{name} = :{name}" for name in columns)
        with engine.begin() as connection:
            connection.execute(
                text(f"UPDATE servefit_orders SET state = 'ANSWERED', {changes} WHERE token = :token"),
                {**columns, "token": token},
            )
            connection.execute(text("SELECT pg_notify('servefit_answers', :token)"), {"token": token})


@pytest.fixture(scope="module")
def honest(
    new_fleet: NewFleet, subject: tuple[Model, Payload], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[OpenJob, Load, Answer]]:
    """A job, a load of it, and the answer of a host that did what it was asked."""
    folder = tmp_path_factory.mktemp("forged")
    sla = Sla(rate_per_s=400.0, thresholds=(LatencyThreshold(percentile="p95", limit_ms=5.0),))
    with new_fleet() as url, open_jobs(url, subject) as open_job, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(folder))
        # The agent of these tests is not heard of again.
        job = open_job(HOST, leases=Leases(silent_s=86400, lost_s=86400), sla=sla)
        asked = replace(job.load(), durations=SCREENING, runs=RUNS, chances=4, memory_bytes=2**31)
        yield job, asked, replace(measured(asked, folder), model_digest=job.header.model.digest)


@pytest.fixture
def fleet(honest: tuple[OpenJob, Load, Answer], fleet_host: MakeHost) -> Iterator[Fleet]:
    job, asked, answer = honest
    registry = job.dispatcher.registry
    claim = registry.claim(fleet_host(HOST, host=host_of_two_cpus()))
    order = replace(job.order(HOST, asked), model_digest=job.header.model.digest)
    yield Fleet(job, job.url, claim, order, answer, TimedCalls(timed=[(ONE, TIMES)]))
    registry.leave(claim)


def test_an_honest_answer_counts_with_the_verdict_that_its_samples_have(fleet: Fleet) -> None:
    found = fleet.comes_of(fleet.answer)
    assert isinstance(found, Answer), found
    assert found.recorded is None
    trial = found.result
    assert isinstance(trial, Trial)
    assert trial == fleet.answer.result
    assert trial.verdict == "PASS"


def test_a_verdict_is_worked_out_of_the_samples_whatever_the_answer_says(fleet: Fleet, tmp_path: Path) -> None:
    asked = fleet.order.asked
    assert isinstance(asked, Load)
    honest = measured(asked, tmp_path, service_us=2200)
    assert isinstance(honest.result, Trial)
    assert honest.result.verdict == "UNDECIDED"
    passing = replace(honest.result, verdict="PASS", reason=None, violation=-0.9)
    found = fleet.comes_of(replace(fleet.answer, result=passing, recorded=honest.recorded))
    assert isinstance(found, Answer), found
    assert isinstance(found.result, Trial)
    assert (found.result.verdict, found.result.violation) == ("UNDECIDED", honest.result.violation)


Forge = Callable[["Fleet", Trial, Path], Answer]


def _says(**fields: Any) -> Forge:
    """The trial says something else, of the same samples."""
    return lambda fleet, trial, _: replace(fleet.answer, result=replace(trial, **fields))


def _did(**changes: Any) -> Forge:
    """Something else was measured, honestly."""

    def forge(fleet: Fleet, trial: Trial, folder: Path) -> Answer:
        assert isinstance(fleet.order.asked, Load)
        answer = measured(fleet.order.asked, folder, **changes)
        return replace(answer, model_digest=fleet.order.model_digest)

    return forge


def _recorded(change: Callable[[Measurement], Measurement]) -> Forge:
    """The samples are others than were recorded."""

    def forge(fleet: Fleet, trial: Trial, folder: Path) -> Answer:
        changed = change(measurement_of(b64decode(fleet.answer.recorded or ""), "samples", most_bytes=MAX_BYTES))
        return replace(fleet.answer, recorded=kept(changed, folder))

    return forge


def _runs(change: Callable[[Run], Run]) -> Forge:
    return _recorded(lambda measurement: replace(measurement, runs=tuple(map(change, measurement.runs))))


def _open(change: Callable[[Run], Run]) -> Forge:
    return _runs(lambda run: run if run.traffic.duration_s == SCREENING.capacity_s else change(run))


def _fewer(run: Run) -> Run:
    """Every second request was left out."""
    samples = run.samples
    times = (each[::2].tobytes() for each in (samples.scheduled_ns(), samples.started_ns(), samples.ended_ns()))
    scheduled, started, ended = times
    return replace(run, samples=Samples(scheduled=scheduled, started=started, ended=ended))


def _even(run: Run) -> Run:
    """Requests came one after the other, at the same distance."""
    scheduled = run.samples.scheduled_ns()
    even = np.linspace(scheduled[0], scheduled[-1], len(scheduled)).astype(np.int64)
    ended = even + run.samples.response_ns()
    return replace(run, samples=Samples(scheduled=even.tobytes(), started=even.tobytes(), ended=ended.tobytes()))


def _turned_around(run: Run) -> Run:
    return replace(run, samples=replace(run.samples, scheduled=run.samples.ended, ended=run.samples.scheduled))


OTHER_RATE = JobRequest(name="x", backends=("xgboost",), deploy="library", over_http=False, sla=Sla(rate_per_s=350.0))

FORGED: dict[str, tuple[Forge, str]] = {
    "another kind": (
        lambda fleet, trial, _: replace(fleet.answer, result=TIMES),
        "it is a ServiceTimes, and a Trial was asked for",
    ),
    "nothing": (lambda fleet, trial, _: replace(fleet.answer, result=None), "it is a NoneType"),
    "a failure and a result": (
        lambda fleet, trial, _: replace(fleet.answer, failure=Failure.of(MeasurementError("x"))),
        "it is a failure and a result",
    ),
    "another model": (lambda fleet, trial, _: replace(fleet.answer, model_digest="0" * 64), "its model is 0000"),
    "another configuration": (_says(configuration=Configuration(backend="xgboost", vcpus=8)), "its configuration is"),
    "samples of another configuration": (
        _recorded(lambda each: replace(each, configuration=Configuration(backend="tl2cgen", vcpus=1))),
        "its configuration of samples is",
    ),
    "another rate": (_did(request=OTHER_RATE), "its samples are at 350 requests/s, and 400 were asked for"),
    "another seed": (_did(seed=77), "its arrivals are of the seed"),
    "a longer load": (
        _did(durations=Durations(capacity_s=0.4, at_rate_s=9.0, at_rate_max_s=9.0)),
        "its load took 9 s, and 3 s were asked for at most",
    ),
    "a longer closed loop": (_did(durations=replace(SCREENING, capacity_s=12.0)), "its closed loop took 12 s"),
    "more tests": (_did(runs=RUNS + 1), "it has the samples of 4 tests, and 3 were asked for"),
    "half of the samples": (_open(_fewer), "samples, and 400 requests/s for"),
    "other arrivals": (_open(_even), "its requests were not due when the seed of the order says"),
    "answers before their requests": (
        _runs(
            lambda run: replace(
                run, samples=replace(run.samples, scheduled=run.samples.ended, ended=run.samples.scheduled)
            )
        ),
        "its requests were answered before they were due",
    ),
    "parts of samples": (
        _runs(lambda run: replace(run, samples=replace(run.samples, ended=b""))),
        "its samples are not of the same requests",
    ),
    "figures of a moment": (
        _open(lambda run: replace(run, plateau_ns=(run.plateau_ns[0], run.plateau_ns[0] + 10_000_000))),
        "its figures are of 0.01 s of a load of",
    ),
    "another driver": (_runs(lambda run: replace(run, driver="http")), "its driver is http, and inprocess was asked"),
    "another host": (
        _recorded(lambda each: replace(each, host_fingerprint="abcdef123456")),
        "it was measured on a host with the fingerprint abcdef123456, and its agent registered",
    ),
    "CPUs that are not there": (
        _recorded(lambda each: replace(each, cpus=(900,))),
        "it was measured on CPUs that its host does not have",
    ),
    "more CPUs": (
        _recorded(lambda each: replace(each, cpus=(0, 1))),
        "its number of CPUs is 2, and 1 was asked for",
    ),
    "more memory": (
        _recorded(lambda each: replace(each, memory_limit_bytes=2**40)),
        "it was measured in 1099511627776 bytes, and 2147483648 were asked for",
    ),
    "what no host can answer": (_did(service_us=5), "requests/s are more than its timed calls allow, which is 10,000"),
    "a capacity that was not measured": (
        lambda fleet, trial, _: replace(
            fleet.answer, result=replace(trial, capacity=replace(trial.capacity, throughput_per_s=172_000.0))
        ),
        "its capacity is 172000 requests/s of",
    ),
    "a rate that was not answered": (
        lambda fleet, trial, _: replace(
            fleet.answer, result=replace(trial, at_rate=replace(trial.capacity, throughput_per_s=172_000.0))
        ),
        "its rate is 172000 requests/s of",
    ),
    "figures without their load": (_says(instance_count=2), "it has no samples at 200 requests/s"),
    "figures of no instance": (_says(instance_count=0), "its figures are of 0 instances"),
    "no samples": (lambda fleet, trial, _: replace(fleet.answer, recorded=None), "no samples came with it"),
    "damaged samples": (lambda fleet, trial, _: replace(fleet.answer, recorded="AAAA"), "its samples cannot be read"),
    "samples elsewhere": (_says(kept_in="../../../etc/passwd"), "its samples are said to be kept where no step"),
    "a prediction": (_says(basis="predicted"), "its basis is predicted, and measured was asked for"),
    "another round": (_says(round=3), "its round is 3, and None was asked for"),
}


@pytest.mark.thorough
def test_whatever_does_not_fit_the_order_of_a_load_is_refused_for_that(fleet: Fleet, tmp_path: Path) -> None:
    trial = fleet.answer.result
    assert isinstance(trial, Trial)
    found = {what: fleet.comes_of(forge(fleet, trial, tmp_path)) for what, (forge, _) in FORGED.items()}
    missed = {what: found[what] for what, (_, reason) in FORGED.items() if reason not in str(found[what])}
    assert missed == {}
    assert all(isinstance(each, AgentLost) for each in found.values())


def test_a_refused_answer_is_named_and_kept_beside_its_order(fleet: Fleet) -> None:
    forged = replace(fleet.answer, model_digest="0" * 64)
    found = fleet.comes_of(forged)
    assert isinstance(found, AgentLost)
    assert f"the answer of host {HOST} to order {fleet.order.token} is refused: its model is 0000" in found.reason
    ((state, answer, late),) = rows(
        fleet.url, f"SELECT state, answer, late FROM servefit_orders WHERE token = '{fleet.order.token}'"
    )
    assert str(state).startswith("refused: its model is 0000")
    assert answer is None
    assert records.read(str(late), Answer, "late") == forged


def test_an_answer_of_another_agent_than_has_the_name_of_the_host_is_refused(fleet: Fleet) -> None:
    for agent in (None, "another's"):
        found = fleet.comes_of(fleet.answer, agent=agent)
        assert isinstance(found, AgentLost)
        assert "it is not of the agent that has the name of the host" in found.reason


def test_an_answer_of_a_host_that_is_another_by_now_is_refused(fleet: Fleet, fleet_host: MakeHost) -> None:
    host = fleet_host(HOST)
    document = records.write(replace(host, host=replace(host.host, cpu_model="another")), FleetHost)
    with_document = text("UPDATE servefit_agents SET document = :document")
    engine = create_engine(make_url(fleet.url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(with_document, {"document": document})
    found = fleet.comes_of(fleet.answer)
    assert isinstance(found, AgentLost)
    assert "it was measured on a host with the fingerprint" in found.reason


OTHERS: dict[str, tuple[Ordered, Any, str]] = {
    "calls by others": (
        TimeCalls(subject=ONE, sizes=(1, 4), memory_bytes=2**31, seed=1),
        replace(TIMES, workers=2),
        "its workers is 2, and 1 was asked for",
    ),
    "calls of other sizes": (
        TimeCalls(subject=ONE, sizes=(4,), memory_bytes=2**31, seed=1),
        TIMES,
        "its calls have sizes that were not asked for",
    ),
    "calls that no host makes": (
        TimeCalls(subject=ONE, sizes=(1,), memory_bytes=2**31, seed=1),
        ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(50.0,)),)),
        "20,000,000 requests/s are more than its timed calls allow, which is",
    ),
    "larger calls of an endpoint": (
        SurveyEndpoint(subject=ONE, max_batch=8, service=None),
        EndpointCosts(
            request_ns=1e4, call_ns=1e4, after_idle=(AfterIdle(idle_ns=0.0, extra_ns=(0.0,)),), rows=1,
            request_bytes=100, joined=64,
        ),
        "its calls joined 64 requests, and 8 were asked for at most",
    ),
    "times of another model": (Calibrate(subject="mine/xgboost"), timing("others/xgboost"), "its subject is others"),
    "times of other calls": (
        Calibrate(subject="mine/xgboost"),
        replace(timing("mine/xgboost"), calls=timing("x").calls[:1]),
        "its sizes of calls is (1,), and (1, 64) was asked for",
    ),
    "requests that were not sent": (
        CLIENT,
        part_of(made_run(around(1.0, requests=2000), duration_s=4.0)),
        "it sent 2,000 requests, and 100 requests/s for 4 s are",
    ),
    "a pair at another rate": (PAIR, pair(rate_per_s=500.0), "its rate is 500.0, and 1000.0 was asked for"),
    "a pair on the same CPUs": (PAIR, pair(cpus=(0,)), "its models were not on CPUs of their own"),
    "a pair of more rounds": (PAIR, replace(pair(), rounds=9), "it has 9 rounds, and 3 were asked for"),
    "more samples of a pair": (PAIR, pair(samples=90_000), "it has 90,000 samples, and 1000 requests/s for 2 s in 3"),
    "artifacts of another model": (
        Compile(),
        Compiled(
            reports=(), skipped=(), remarks=(),
            choices=(
                CompiledBackend(
                    backend="xgboost", backend_version="3", model_digest="0" * 64, target=Target.CPU,
                    folder=Path("/tmp"), vcpus=1, knobs=(),
                ),
            ),
        ),
        "its artifact is 0000",
    ),
}  # fmt: skip


def test_a_pair_that_fits_counts(fleet: Fleet) -> None:
    fleet.order = replace(fleet.order, asked=PAIR)
    assert isinstance(fleet.comes_of(replace(fleet.answer, result=pair(), recorded=None)), Answer)


def test_whatever_does_not_fit_another_order_is_refused_for_that(fleet: Fleet) -> None:
    fleet.known = TimedCalls(timing=timing("mine/xgboost"))
    missed = {}
    for what, (asked, result, reason) in OTHERS.items():
        fleet.order = replace(fleet.order, asked=asked)
        found = fleet.comes_of(replace(fleet.answer, result=result, recorded=None))
        if not isinstance(found, AgentLost) or reason not in found.reason:
            missed[what] = found
    assert missed == {}
