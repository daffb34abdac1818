"""A job's story, told step by step, and kept where the command line finds jobs: as one that ran and was measured, but
on simulated workers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.report.simulated import SimulatedDriver

from servefit.backends.model import Model
from servefit.backends.model.types import Format, Signature, Task, TreeStructure
from servefit.backends.types import Settings, Target
from servefit.profiler.machine.host import Host, describe_host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.machine.topology import Cache
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.storage.measurements import load_measurement, save_measurement
from servefit.profiler.record.traffic import ClosedLoop
from servefit.profiler.record.types import Configuration, Measurement, Samples
from servefit.search.capacity.predicted_endpoint import predicted_endpoint
from servefit.search.jobs.closing import DURATIONS, DURATIONS_ALONE
from servefit.search.results.measure_trial import CONFIRMING, ROUND, SCREENING, run_test
from servefit.search.results.recommendation import CompilationReport, Trial
from servefit.search.simulation.endpoint import EndpointCosts
from servefit.search.storage import records, tables
from servefit.search.storage.addresses import own_address
from servefit.search.storage.database import Database
from servefit.search.storage.header import JobHeader, JobState, PayloadFacts
from servefit.search.storage.job_folder import keep_measurement, reserve
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.steps import Result, Step, StepKind, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.profiler.evidence.summary import Summary
    from servefit.search.request.job_request import JobRequest

GIB = 2**30
BEGAN_AT = 1_795_000_000.0

SERVICE_US = {"xgboost": 330.0, "treelite": 210.0, "onnxruntime": 75.0, "forest": 14.0}
"""What a call of each backend takes."""

PROFILES = (
    InstanceProfile(name="local-1c", vcpus=1, memory_bytes=4 * GIB, price_per_hour=0.021, price_source="profiles.toml"),
    InstanceProfile(
        name="ml.m5.large",
        vcpus=2,
        memory_bytes=8 * GIB,
        price_per_hour=0.115,
        price_source="price list of 2023",
        cloud="aws",
        region="us-east-1",
        price_date="2023",
    ),
)

MODEL = Model(
    source="models/fraud.ubj",
    file=Path("/models/fraud.ubj"),
    format=Format.XGBOOST_UBJSON,
    digest="5" * 64,
    size_bytes=10_400_000,
    signature=Signature(task=Task.BINARY, features=30, outputs=1),
    trees=TreeStructure(trees=1300, nodes=390_000, max_depth=8, objective="binary:logistic", booster="gbtree"),
)

PAYLOAD = PayloadFacts(source="payload.csv", rows=4000, digest="7" * 64, synthetic=False, truncated_from=None)


COSTS = EndpointCosts(
    request_ns=60_000.0,
    call_ns=20_000.0,
    after_idle=(AfterIdle(idle_ns=0.0, extra_ns=(0.0, 5_000.0)), AfterIdle(idle_ns=2e5, extra_ns=(40_000.0, 90_000.0))),
    rows=1,
    request_bytes=300,
)
"""What a request takes in an endpoint of this host."""


def simulated_host(**facts: Any) -> Host:
    """Four CPUs, and this machine's software."""
    described = describe_host()
    hardware: dict[str, Any] = {
        "cpu_model": "Imaginary 9000",
        "cpus": tuple(replace(described.cpus[0], cpu=number, core=number, node=0) for number in range(4)),
        "caches": (Cache(level=3, kind="unified", size_bytes=32 * 2**20, count=1),),
        "memory_bytes": 16 * GIB,
        "gpus": (),
        "no_gpu_reason": "the NVIDIA driver is not installed",
    }
    return replace(described, **hardware | facts)


def configuration(backend: str, *, vcpus: int = 1, workers: int = 1, threads: int = 1, **facts: Any) -> Configuration:
    return Configuration(vcpus=vcpus, backend=backend, workers=workers, settings=Settings(threads=threads), **facts)


@dataclass(slots=True, kw_only=True)
class Story:
    """What a job did so far. Its folder is in the state folder that the environment names."""

    header: JobHeader
    folder: Path
    steps: list[Step] = field(default_factory=list)
    _now: float = BEGAN_AT

    @classmethod
    def of(cls, request: JobRequest, **facts: Any) -> Story:
        """A job that is only begun, about the library unless ``request`` says what is deployed; ``facts`` are those of
        its header that are not the usual ones."""
        request = replace(request, deploy=request.deploy or "library")
        usual: dict[str, Any] = {
            "model": MODEL,
            "payload": PAYLOAD,
            "host": simulated_host(),
            "profiles": PROFILES,
            "servefit": "0.1",
            "created_at": BEGAN_AT,
        }
        return cls(header=JobHeader(request=request, **usual | facts), folder=reserve(request.name))

    def compiles(self, *backends: str, seconds: float = 1.7, target: Target = Target.CPU) -> None:
        for backend in backends:
            report = CompilationReport(
                backend=backend, target=target, status="COMPLETED", seconds=seconds, version="3.2.0"
            )
            self._add("compilation", backend, None, seconds=seconds, result=report)

    def fails_to_compile(self, backend: str, reason: str) -> None:
        report = CompilationReport(backend=backend, target=Target.CPU, status="FAILED", seconds=4.0, reason=reason)
        self._add("compilation", backend, None, seconds=4.0, result=report, status="FAILED", reason=reason)

    def times(self, *timed: Configuration) -> None:
        """Calls timed alone, of one to 64 requests."""
        for configuration in timed:
            call_ns = 1000 * SERVICE_US[configuration.backend]
            spread = np.linspace(0.9, 1.3, 50)
            batches = tuple(
                BatchTimes.of(requests, call_ns * (1 + 0.2 * (requests - 1)) * spread) for requests in (1, 8, 64)
            )
            self._add(
                "service_time", configuration.backend, configuration, seconds=0.6, result=ServiceTimes(batches=batches)
            )

    def learns_endpoint_costs(self, surveyed: Configuration) -> None:
        self._add("endpoint_costs", surveyed.backend, surveyed, seconds=5.0, result=COSTS)

    def tests(
        self,
        configuration: Configuration,
        *,
        kind: StepKind = "load_test",
        nth_round: int | None = None,
        slower: float = 1.0,
        **driver: Any,
    ) -> Trial:
        """Put a configuration under load, with calls that take ``slower`` times what is usual."""
        simulated = SimulatedDriver(
            configuration=configuration, service_us=SERVICE_US[configuration.backend] * slower, **driver
        )
        durations = {"load_test": SCREENING, "endpoint": DURATIONS, "model_alone": DURATIONS_ALONE}.get(
            kind, CONFIRMING if nth_round is None else ROUND
        )
        trial = run_test(
            simulated,
            self.header.request,
            self.header.host,
            durations,
            seed=self._number,
            nth_round=nth_round,
            keep=lambda measurement: keep_measurement(measurement, self.folder, self._number),
        )
        self._add(kind, configuration.backend, configuration, seconds=2.0, result=trial)
        return trial

    def predicts(self, configuration: Configuration) -> Trial:
        """Put the workers of a configuration under load, and predict what an endpoint of them would do."""
        simulated = SimulatedDriver(configuration=configuration, service_us=SERVICE_US[configuration.backend])
        kept: list[Measurement] = []

        def keep(measurement: Measurement) -> str:
            kept.append(measurement)
            return keep_measurement(measurement, self.folder, self._number)

        alone = run_test(simulated, self.header.request, self.header.host, SCREENING, seed=self._number, keep=keep)
        trial = predicted_endpoint(alone, COSTS, self.header.request, timed=None, closed=kept[0].runs[0])
        self._add("load_test", configuration.backend, configuration, seconds=2.0, result=trial)
        return trial

    def repeats(self, trial: Trial, configuration: Configuration, *, slower: float) -> None:
        """A load test of ``configuration`` in which all that ``trial`` did went on ``slower`` times as slowly."""
        if trial.kept_in is None:
            raise ValueError("the trial to repeat has no raw samples")
        measurement = replace(
            _slowed(load_measurement(self.folder / trial.kept_in), slower), configuration=configuration
        )
        name = f"measurements/{self._number:04}.servefit"
        save_measurement(measurement, self.folder / name)
        repeated = replace(
            trial,
            configuration=configuration,
            measurement=replace(measurement, runs=()),
            capacity=_summary_slowed(trial.capacity, slower),
            at_rate=None if trial.at_rate is None else _summary_slowed(trial.at_rate, slower),
            kept_in=name,
        )
        self._add("load_test", configuration.backend, configuration, seconds=1.5, result=repeated)

    def crashes(self, configuration: Configuration, reason: str, *, kind: StepKind = "load_test") -> None:
        self._add(kind, configuration.backend, configuration, seconds=0.8, status="FAILED", reason=reason)

    def begins(self, configuration: Configuration, *, kind: StepKind = "load_test") -> None:
        """A step that never ended."""
        self._add(kind, configuration.backend, configuration, seconds=None, status="RUNNING")

    def keep(self, status: Any = "COMPLETED", **state: Any) -> None:
        """Write the job down, with all steps that there were. ``state`` are facts of its state."""
        name, state = self.header.request.name, {"elapsed_s": self._now - BEGAN_AT} | state
        with JobStore.open() as store:
            store.create(self.header).set_state(JobState(status=status, **state))
        database = Database(own_address())
        try:
            with database.transaction() as connection:
                number, *_ = tables.rows_of_all(connection, [records.HEADER], name=name)[0]
                tables.add(
                    connection,
                    number,
                    {records.step_key(step.number): records.write(step, Step) for step in self.steps},
                )
        finally:
            database.close()

    @property
    def _number(self) -> int:
        """That of the step that comes next."""
        return len(self.steps) + 1

    def _add(
        self,
        kind: StepKind,
        backend: str,
        configuration: Configuration | None,
        *,
        seconds: float | None,
        result: Result | None = None,
        status: StepStatus = "COMPLETED",
        reason: str | None = None,
    ) -> None:
        began_at, self._now = self._now, self._now + (seconds or 0.0)
        self.steps.append(
            Step(
                number=self._number,
                kind=kind,
                status=status,
                backend=backend,
                configuration=configuration,
                host_fingerprint=self.header.host.fingerprint,
                began_at=began_at,
                ended_at=None if seconds is None else self._now,
                reason=reason,
                result=result,
            )
        )


def _slowed(measurement: Measurement, factor: float) -> Measurement:
    """Requests that took ``factor`` (1 or more) times as long. Users of a closed loop came again later, and so made
    fewer of them."""
    runs = []
    for run in measurement.runs:
        times = [run.samples.scheduled_ns(), run.samples.started_ns(), run.samples.ended_ns()]
        came_later = isinstance(run.traffic, ClosedLoop)
        since = run.plateau_ns[0] if came_later else times[0]
        slow = [(since + factor * (instants - since)).astype(np.int64) for instants in times]
        kept = slow[0] < run.plateau_ns[1]
        scheduled, started, ended = (instants[kept].tobytes() for instants in slow)
        runs.append(replace(run, samples=Samples(scheduled=scheduled, started=started, ended=ended)))
    return replace(measurement, runs=tuple(runs))


def _summary_slowed(summary: Summary, factor: float) -> Summary:
    def slowed(figures: Mapping[str, float | None]) -> dict[str, float | None]:
        return {name: None if value is None else factor * value for name, value in figures.items()}

    return replace(
        summary,
        throughput_per_s=summary.throughput_per_s / factor if summary.loop == "closed" else summary.throughput_per_s,
        latency_ms=slowed(summary.latency_ms),
        latency_ms_ci95={name: (factor * low, factor * high) for name, (low, high) in summary.latency_ms_ci95.items()},
        service_ms=slowed(summary.service_ms),
    )
