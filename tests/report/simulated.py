"""A driver whose workers exist in arithmetic alone. It gives the runs that real ones would record, at once and the same
ones every time, so that everything that is made of runs can be made without measuring for minutes."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop, OpenLoop
from servefit.profiler.record.types import ClientRecord, Configuration, Run, Samples, Stopped, TelemetryPoint, Traffic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.drivers.driving.ending import Enough
    from servefit.profiler.evidence.stopping import StoppingConditions
    from servefit.profiler.machine.envelope.types import Containment, EnvelopeMethod

MEMORY_BYTES = 180 * 2**20
_BOOT_NS = 123_456_789_012_345
_PAUSE_NS = 300_000_000
_LOOK_NS = 100_000_000
_LAG_NS = 2_000
_BETWEEN_NS = 30_000
_BESIDE_NEIGHBOUR = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedEnvelope:
    """An envelope that nothing enters."""

    cpus: tuple[int, ...]
    memory_limit_bytes: int | None = 2 * 2**30
    method: EnvelopeMethod = "cgroup-v2"
    containment: Containment = "cgroup"
    join_files: tuple[str, ...] = ()

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def oom_kills(self) -> int:
        return 0

    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Requests:
    """int64 nanoseconds, one entry a request."""

    scheduled: np.ndarray
    started: np.ndarray
    ended: np.ndarray


@dataclass(slots=True, kw_only=True)
class SimulatedDriver:
    """Requests wait in one queue for the workers of ``configuration``, whose calls take ``service_us`` in the median.

    With ``http_us`` they come over HTTP, which adds so much to each. ``steal_percent`` is what telemetry says of a
    hypervisor; a GPU of the configuration has counters. A neighbour takes nine tenths of the CPUs in
    every ``neighbour_in``-th tenth of a second; 0 for none.
    """

    configuration: Configuration
    service_us: float
    http_us: float | None = None
    steal_percent: float | None = None
    neighbour_in: int = 0
    load_s: float = 0.4
    _runs: int = field(default=0, init=False)
    _free_ns: int = field(default=_BOOT_NS, init=False)
    _whole_looks: int = field(default=0, init=False)

    @property
    def envelope(self) -> SimulatedEnvelope:
        return SimulatedEnvelope(cpus=tuple(range(self.configuration.vcpus)))

    @property
    def usual_users(self) -> int:
        return self.configuration.workers

    def run(self, traffic: Traffic, *, enough: Enough | None = None, stopping: StoppingConditions | None = None) -> Run:
        """Conditions of ``stopping`` are never reached."""
        self._runs += 1
        self._whole_looks = int(traffic.duration_s * NS_PER_S / _LOOK_NS)
        begin_ns = self._free_ns
        random = np.random.default_rng([self._runs, round(1000 * self.service_us), self.configuration.workers])
        if isinstance(traffic, OpenLoop):
            requests, stopped = self._open(traffic, begin_ns, random, enough)
            seconds = traffic.duration_s if stopped is None else len(requests.scheduled) / traffic.rate_per_s
            plateau_ns = (begin_ns, begin_ns + round(seconds * NS_PER_S))
        else:
            requests, stopped = self._closed(traffic, begin_ns, random), None
            edges = traffic.plateaus()[-1]
            plateau_ns = (begin_ns + round(edges.begin_s * NS_PER_S), begin_ns + round(edges.end_s * NS_PER_S))
        self._free_ns = plateau_ns[1] + _PAUSE_NS
        return self._recorded(traffic, requests, begin_ns, plateau_ns, stopped, random)

    def _open(
        self, traffic: OpenLoop, begin_ns: int, random: np.random.Generator, enough: Enough | None
    ) -> tuple[_Requests, Stopped | None]:
        scheduled = begin_ns + traffic.arrivals_ns()
        free_ns = [begin_ns] * self.configuration.workers
        started, ended = np.zeros_like(scheduled), np.zeros_like(scheduled)
        for nth, (arrival_ns, service_ns) in enumerate(
            zip(scheduled.tolist(), self._service_ns(len(scheduled), random), strict=True)
        ):
            started[nth] = max(arrival_ns + _LAG_NS, heapq.heappop(free_ns))
            ended[nth] = started[nth] + self._slowed_ns(service_ns, int(started[nth] - begin_ns))
            heapq.heappush(free_ns, int(ended[nth]))
        response_ns = ended - scheduled
        looks = range(100, len(scheduled), 100) if enough is not None else ()
        until = next((nth for nth in looks if enough is not None and enough(response_ns[:nth])), None)
        requests = _Requests(scheduled=scheduled[:until], started=started[:until], ended=ended[:until])
        return requests, None if until is None else "verdict"

    def _has_neighbour(self, nth_look: int) -> bool:
        seen = nth_look < self._whole_looks
        return seen and self.neighbour_in > 0 and nth_look % self.neighbour_in == self.neighbour_in - 1

    def _slowed_ns(self, service_ns: int, since_ns: int) -> int:
        """How long a call takes that begins so long after the run."""
        return _BESIDE_NEIGHBOUR * service_ns if self._has_neighbour(since_ns // _LOOK_NS) else service_ns

    def _closed(self, traffic: ClosedLoop, begin_ns: int, random: np.random.Generator) -> _Requests:
        end_ns = begin_ns + round(traffic.duration_s * NS_PER_S)
        ready_ns = [begin_ns + round(join_s * NS_PER_S) for join_s in traffic.joins_s()]
        free_ns = [begin_ns] * self.configuration.workers
        between_ns = 0 if self.http_us is None else _BETWEEN_NS
        services: list[int] = []
        rows: list[tuple[int, int, int]] = []
        while ready_ns[0] < end_ns:
            services = services or self._service_ns(1000, random)
            arrival_ns = heapq.heappop(ready_ns)
            started_ns = max(arrival_ns, heapq.heappop(free_ns))
            ended_ns = started_ns + self._slowed_ns(services.pop(), started_ns - begin_ns)
            heapq.heappush(free_ns, ended_ns)
            heapq.heappush(ready_ns, ended_ns + between_ns)
            rows.append((ended_ns, arrival_ns, started_ns))
        ended, scheduled, started = np.array(sorted(rows), dtype=np.int64).T
        return _Requests(scheduled=scheduled.copy(), started=started.copy(), ended=ended.copy())

    def _service_ns(self, count: int, random: np.random.Generator) -> list[int]:
        own_us = self.service_us + (self.http_us or 0.0)
        drawn: list[int] = (1000 * own_us * random.lognormal(0.0, 0.2, count)).astype(np.int64).tolist()
        return drawn

    def _recorded(
        self,
        traffic: Traffic,
        requests: _Requests,
        begin_ns: int,
        plateau_ns: tuple[int, int],
        stopped: Stopped | None,
        random: np.random.Generator,
    ) -> Run:
        begin, end = plateau_ns
        scheduled, started, ended = requests.scheduled, requests.started, requests.ended
        due = (scheduled >= begin) & (scheduled < end)
        busy_ns = int((np.clip(ended, begin, end) - np.clip(started, begin, end)).sum())
        over_http = self.http_us is not None
        calls = ended - started
        predicted = np.round(calls * self.service_us / (self.service_us + (self.http_us or 0.0))).astype(np.int64)
        # Over HTTP a request begins when it is sent, and waits inside the server.
        sent = np.minimum(scheduled + _LAG_NS, started)
        return Run(
            driver="http" if over_http else "inprocess",
            traffic=traffic,
            samples=Samples(
                scheduled=scheduled.tobytes(),
                started=(sent if over_http else started).tobytes(),
                ended=ended.tobytes(),
                queued=(started - sent).tobytes() if over_http else None,
                predicted=predicted.tobytes() if over_http else None,
            ),
            plateau_ns=plateau_ns,
            offered=int(np.count_nonzero(due)),
            backlog=int(np.count_nonzero(due & (started >= end))),
            stopped=stopped,
            lags=np.full(len(scheduled) // 2, _LAG_NS, dtype=np.int64).tobytes(),
            busy_cpu_ns=busy_ns,
            threads_per_worker=(self.configuration.settings.threads + 2,) * self.configuration.workers,
            threads_outside=0,
            peak_memory_bytes=MEMORY_BYTES * self.configuration.workers,
            telemetry=tuple(
                self._look(at_ns, started, ended, random, beside=self._has_neighbour(nth))
                for nth, at_ns in enumerate(_looks_at(begin_ns, end))
            ),
            client=self._client() if over_http else None,
        )

    def _client(self) -> ClientRecord:
        return ClientRecord(
            processes=1,
            cpus=(self.configuration.vcpus,),
            cpu_percent=31.5,
            between_us=_BETWEEN_NS / 1000,
            connections=self.configuration.workers,
            reconnections=0,
            errors={},
            shares_cpus=False,
        )

    def _look(
        self, at_ns: int, started: np.ndarray, ended: np.ndarray, random: np.random.Generator, *, beside: bool
    ) -> TelemetryPoint:
        since_ns = at_ns - _LOOK_NS
        inside_ns = np.clip(ended, since_ns, at_ns) - np.clip(started, since_ns, at_ns)
        busy_percent = 100 * float(inside_ns.sum()) / _LOOK_NS
        workers, vcpus = self.configuration.workers, self.configuration.vcpus
        gpu: dict[str, Any] = {}
        if self.configuration.gpu is not None:
            gpu = {
                "gpu_percent": min(100.0, 0.7 * busy_percent),
                "gpu_memory_bytes": 3 * 2**30,
                "gpu_power_w": 60.0 + busy_percent,
                "gpu_sm_clock_mhz": 1590,
                "gpu_memory_clock_mhz": 5000,
                "gpu_throttled": False,
            }
        return TelemetryPoint(
            at_ns=at_ns,
            over_ns=_LOOK_NS,
            cpu_percent=busy_percent,
            memory_bytes=MEMORY_BYTES * workers + int(random.integers(2**20)),
            worker_percents=(busy_percent / workers,) * workers,
            run_queue_percent=0.1,
            voluntary_switches=200,
            involuntary_switches=3,
            core_percents=(min(100.0, busy_percent / vcpus),) * vcpus,
            foreign_percent=90.0 if beside else 0.2,
            steal_percent=self.steal_percent,
            cpu_pressure_percent=0.5,
            memory_pressure_percent=0.0,
            **gpu,
        )


def _looks_at(begin_ns: int, end_ns: int) -> range:
    return range(begin_ns + _LOOK_NS, end_ns + 1, _LOOK_NS)
