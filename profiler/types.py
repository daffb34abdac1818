"""What is measured, and what a measurement holds. Raw facts only: figures derived from them are in ``summary``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.backends.types import Settings, Target
from servefit.profiler import telemetry, traffic

if TYPE_CHECKING:
    import numpy as np

Containment: TypeAlias = Literal["cgroup", "uncontained"]
TelemetryPoint: TypeAlias = telemetry.TelemetryPoint
Traffic: TypeAlias = traffic.Traffic
EnvelopeMethod: TypeAlias = Literal["cgroup-v2", "cgroup-v1", "systemd-scope", "affinity"]
Stopped: TypeAlias = Literal["backlog", "verdict", "flat", "rate", "latency"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceProfile:
    """The shape and price of an instance. ``price_per_hour`` is in US dollars, None where nobody stated one."""

    name: str
    vcpus: int
    memory_bytes: int
    gpus: int = 0
    gpu_model: str | None = None
    price_per_hour: float | None = None
    price_source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything about a deployment that changes its speed: what a measurement is a measurement of.

    ``vcpus`` is the size of the envelope; profiles of the same size share measurements. ``environment`` holds the
    user's own variables as sorted (name, value) pairs. ``max_batch`` is the most requests joined into one call, and
    ``batch_delay_us`` how long the first of them waits for others. ``gpu`` is NVML's number of the one GPU that workers
    see, None for those on the CPU.
    """

    vcpus: int
    backend: str
    target: Target = Target.CPU
    settings: Settings = Settings()
    workers: int = 1
    max_batch: int = 1
    batch_delay_us: int = 0
    environment: tuple[tuple[str, str], ...] = ()
    gpu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One entry a request: int64 nanoseconds of one monotonic clock, as bytes.

    ``scheduled`` is when the request was due to arrive, ``started`` when a worker began to serve it, ``ended`` when
    its prediction was there. A request that was due and never served has zeros for ``started`` and ``ended``. In an
    open loop the order is that of arrival, in a closed one that of completion, followed by those never served.
    """

    scheduled: bytes
    started: bytes
    ended: bytes

    def scheduled_ns(self) -> np.ndarray:
        return _int64(self.scheduled)

    def started_ns(self) -> np.ndarray:
        return _int64(self.started)

    def ended_ns(self) -> np.ndarray:
        return _int64(self.ended)


def _int64(content: bytes) -> np.ndarray:
    import numpy as np

    return np.frombuffer(content, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of one traffic recorded. ``plateau_ns`` is the interval that figures are taken from.

    ``offered`` counts the requests that were due within the plateau, completed or not; ``backlog`` those of them
    that nobody had begun to serve by its end. ``stopped`` says what ended the run before its time: in an open loop a
    "backlog" that only grew, or a "verdict" that needs no more samples; in a closed one a condition of ``stopping``,
    and its plateau is then the last number of users that stayed for a while, up to the stop. ``lags`` holds, for every
    arrival that an idle worker was waiting for, how much later it was started: int64 nanoseconds, as bytes.
    ``busy_cpu_ns`` is CPU time of all workers within the plateau, waiting and spinning taken out.
    ``threads_per_worker`` counts every thread that lived at the end, the interpreter's own included;
    ``threads_outside`` those of them that were allowed on a CPU outside the envelope. ``peak_memory_bytes`` is the sum
    over workers of the largest resident size since their start.
    """

    driver: Literal["inprocess"]
    traffic: Traffic
    samples: Samples
    plateau_ns: tuple[int, int]
    offered: int
    backlog: int
    stopped: Stopped | None = None
    lags: bytes
    busy_cpu_ns: int
    threads_per_worker: tuple[int, ...]
    threads_outside: int
    peak_memory_bytes: int
    telemetry: tuple[TelemetryPoint, ...]

    def lags_ns(self) -> np.ndarray:
        return _int64(self.lags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Runs of one configuration, on one host, made by the same workers one after the other.

    ``envelope`` is what held the workers to ``cpus``, and to ``memory_limit_bytes`` (None: nothing did).
    ``load_s`` is how long the slowest worker took from the artifact's files to a predictor, imports included.
    """

    configuration: Configuration
    host_fingerprint: str
    containment: Containment
    envelope: EnvelopeMethod
    memory_limit_bytes: int | None
    cpus: tuple[int, ...]
    runs: tuple[Run, ...]
    load_s: float
    peak_memory_bytes: int
