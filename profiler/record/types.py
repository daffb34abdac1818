"""A configuration, and what a measurement of it holds. Raw facts only: figures of them are in ``evidence.summary``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.backends.types import Settings, Target
from servefit.profiler.machine import telemetry
from servefit.profiler.machine.envelope.types import Containment, EnvelopeMethod
from servefit.profiler.record import traffic
from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    import numpy as np

TelemetryPoint: TypeAlias = telemetry.TelemetryPoint
Traffic: TypeAlias = traffic.Traffic
DriverName: TypeAlias = Literal["inprocess", "http"]
Stopped: TypeAlias = Literal["backlog", "verdict", "flat", "rate", "latency"]


@shown()
class Configuration(Stored, frozen=True, kw_only=True):
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


@shown()
class Samples(Stored, frozen=True, kw_only=True):
    """One entry a request: int64 nanoseconds of one monotonic clock, as bytes.

    ``scheduled`` is when the request was due to arrive, ``started`` when a worker began to serve it (over HTTP: when it
    was sent), ``ended`` when its prediction was there. A request that was due and never served has zeros for
    ``started`` and ``ended``, and one that failed has the negative of when it did for ``ended``. In an open loop the
    order is that of arrival, in a closed one that of completion, followed by those never served.

    ``queued`` and ``predicted`` are what a server says of its own time, nanoseconds too: how long the request waited
    for the predictor, and how long the call took; -1 where it does not say. None where nothing does, and in process.
    """

    scheduled: bytes
    started: bytes
    ended: bytes
    queued: bytes | None = None
    predicted: bytes | None = None

    def scheduled_ns(self) -> np.ndarray:
        return _int64(self.scheduled)

    def started_ns(self) -> np.ndarray:
        return _int64(self.started)

    def ended_ns(self) -> np.ndarray:
        return _int64(self.ended)

    def queued_ns(self) -> np.ndarray | None:
        return None if self.queued is None else _int64(self.queued)

    def predicted_ns(self) -> np.ndarray | None:
        return None if self.predicted is None else _int64(self.predicted)

    def response_ns(self) -> np.ndarray:
        """Return response times; FAILED_NS, a day, for requests that failed, and 0 for those never served."""
        import numpy as np

        ended = self.ended_ns()
        return np.where(ended > 0, ended - self.scheduled_ns(), np.where(ended < 0, traffic.FAILED_NS, 0))


def _int64(content: bytes) -> np.ndarray:
    import numpy as np

    return np.frombuffer(content, dtype=np.int64)


@shown()
class ClientRecord(Stored, frozen=True, kw_only=True):
    """The load client of a run, and what it was busy with.

    It had ``processes`` processes on ``cpus``. ``cpu_percent`` is the CPU time on the plateau of the busiest of them,
    without what it spent waiting for arrivals, and None where the plateau was too short to tell. ``waited_percent`` is
    for how much of the plateau one of them could have run and had no CPU, what this process did there left out, and
    ``steal_percent`` how much of it a hypervisor took from ``cpus``; None also where the kernel does not say.
    ``between_us`` is the mean time of a user of a closed loop between an answer and the next request, in microseconds;
    0 in an open loop. ``connections`` is how many were open at the same time, ``reconnections`` how many were opened
    while the run went on. ``errors`` counts the requests that failed, by kind, over the whole run. ``shares_cpus`` says
    that the client ran on CPUs of the server.
    """

    processes: int
    cpus: tuple[int, ...]
    cpu_percent: float | None
    waited_percent: float | None = None
    steal_percent: float | None = None
    between_us: float = 0.0
    connections: int
    reconnections: int
    errors: Mapping[str, int]
    shares_cpus: bool


@shown("driver", "traffic", "offered", "backlog", "stopped")
class Run(Stored, frozen=True, kw_only=True):
    """The record of one run of one traffic. ``plateau_ns`` is the interval that figures are taken from.

    ``offered`` counts the requests that were due within the plateau, completed or not; ``backlog`` those of them
    that nobody had begun to serve by its end. ``stopped`` says what ended the run before its time: in an open loop a
    "backlog" that only grew, or a "verdict" that needs no more samples; in a closed one a condition of ``stopping``,
    and its plateau is then the last number of users that stayed for a while, up to the stop. ``lags`` holds, for every
    arrival that an idle worker was waiting for, how much later it was started: int64 nanoseconds, as bytes.
    ``busy_cpu_ns`` is CPU time of all workers within the plateau, waiting and spinning taken out.
    ``threads_per_worker`` counts every thread that lived at the end, the interpreter's own included;
    ``threads_outside`` those of them that were allowed on a CPU outside the envelope. ``peak_memory_bytes`` is the sum
    over workers of the largest resident size since their start.

    Over HTTP the same is said of the processes of the server, and ``client`` is there. A request begins to be served
    when the server says so, else when it is sent, and ``lags`` are those of arrivals that had a connection. Of a server
    that cannot be seen from here ``busy_cpu_ns`` and ``peak_memory_bytes`` are None, and nothing is said of threads.
    ``left_out_ns`` are stretches of the plateau, ascending and apart, in which the machine got in the way: no figure is
    of them (see ``evidence.undisturbed``).
    ``largest_call`` is the most requests that a call of the endpoint joined, None where it does not say; in process
    that is in the samples.
    """

    driver: DriverName
    traffic: Traffic
    samples: Samples
    plateau_ns: tuple[int, int]
    offered: int
    backlog: int
    stopped: Stopped | None = None
    lags: bytes
    busy_cpu_ns: int | None
    threads_per_worker: tuple[int, ...]
    threads_outside: int
    peak_memory_bytes: int | None
    telemetry: tuple[TelemetryPoint, ...]
    client: ClientRecord | None = None
    largest_call: int | None = None
    left_out_ns: tuple[tuple[int, int], ...] = ()

    def lags_ns(self) -> np.ndarray:
        return _int64(self.lags)


@shown("configuration", "envelope", "cpus", "runs", "load_s")
class Measurement(Stored, frozen=True, kw_only=True):
    """Runs of one configuration, on one host, made by the same workers one after the other.

    ``envelope`` is what held the workers to ``cpus``, and to ``memory_limit_bytes`` (None: nothing did).
    ``load_s`` is how long the slowest worker took from the artifact's files to a predictor, imports included.

    Example:
        ::

            measurement = sf.profile("model.ubj", users=1, duration_s=1).measurement
            print(measurement.containment, sf.summarize(measurement.runs[0]).throughput_per_s)
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
