"""Orders, and results and answers to them, as forgers would begin with."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.report.simulated import SimulatedDriver
from tests.search.fleet.load.made_parts import around, made_run, part_of

from servefit.profiler.arrivals.seeds import derived_seed
from servefit.profiler.machine.host import Host, describe_host
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.storage.measurements import save_measurement
from servefit.profiler.record.types import Configuration, Measurement
from servefit.search.fleet.load_orders import LoadClient
from servefit.search.fleet.orders import Answer
from servefit.search.fleet.pair_orders import LoadPair, LoadSide, PairLoaded, SideLoaded, UnderLoad
from servefit.search.results.confirmed_trial import ConfirmationTest, confirmed_trial
from servefit.search.results.host_timing import CallsTime, HostTiming, WorkTime
from servefit.search.results.measure_trial import run_test

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.jobs.orders import Load

ONE = Configuration(backend="xgboost", vcpus=1)
TIMES = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(4e5,)),))


def timing(subject: str) -> HostTiming:
    """A host whose calls of one request take 0.4 ms, and those of 64 twice as long."""

    def time(ns: float) -> WorkTime:
        return WorkTime(time_ns=ns, low_ns=ns, high_ns=ns)

    calls = (CallsTime(requests=1, time=time(4e5)), CallsTime(requests=64, time=time(8e5)))
    return HostTiming(arithmetic=time(1e6), memory=time(1e6), cpu_taken=0.0, calls=calls, subject=subject)


CLIENT = LoadClient(
    url="http://10.0.0.1:8080", protocol="auto", model=None, payload=None, rows_per_request=1, rows_seed=1,
    rate_per_s=100.0, duration_s=4.0, seed=1, connections=None, timeout_s=1.0, percentiles=("p95",), limit_ms=None,
    allow_remote=True, boot="x", start_within_s=1.0,
)  # fmt: skip

PAIR = LoadPair(
    sides=(
        LoadSide(
            job="a", configuration=ONE, rate_per_s=1000.0, memory_bytes=None, model_digest="m", payload_digest="p"
        ),
    )
    * 2,
    turn_s=2.0,
    rounds=3,
    seed=1,
)


def pair(*, rate_per_s: float = 1000.0, cpus: tuple[int, ...] = (1,), samples: int = 5_900) -> PairLoaded:
    """Two models on CPUs 0 and 1, of which the second is as told."""
    loaded = UnderLoad(
        summary=replace(part_of(made_run(around(1.0))).summary, samples=samples), verdict="PASS", reason=None
    )
    first = SideLoaded(
        cpus=(0,), rate_per_s=1000.0, alone=loaded, beside=loaded, percentile="p95", latency=None, service=None
    )
    return PairLoaded(sides=(first, replace(first, cpus=cpus, rate_per_s=rate_per_s)), rounds=3)


def host_of_two_cpus() -> Host:
    """This host with the CPUs that simulated workers are on, wherever the process that runs the tests is kept to."""
    host = describe_host()
    return replace(host, cpus=tuple(replace(host.cpus[0], cpu=number, core=number) for number in range(2)))


def measured(asked: Load, folder: Path, service_us: float = 500, **changes: Any) -> Answer:
    """An honest answer of a host whose calls take so long, to ``asked``, or to something else."""
    done = replace(asked, **changes)
    parts: list[ConfirmationTest] = []
    for nth in range(done.runs):
        recorded: list[Measurement] = []
        trial = run_test(
            SimulatedDriver(configuration=done.configuration, service_us=service_us),
            done.request,
            host_of_two_cpus(),
            done.durations,
            seed=derived_seed(done.seed, nth),
            instances=parts[0].trial.instance_count if parts else done.instances,
            chances=done.chances,
            keep=recorded.append,
        )
        parts.append(ConfirmationTest(trial=trial, measurement=recorded[0]))
    whole: list[Measurement] = []
    trial = confirmed_trial(parts, done.request, chances=done.chances, instances=done.instances, keep=whole.append)
    return Answer(
        result=replace(trial, kept_in=f"measurements/{done.step:04}.servefit"), recorded=kept(whole[0], folder)
    )


def kept(measurement: Measurement, folder: Path) -> str:
    path = folder / "recorded.servefit"
    save_measurement(measurement, path)
    return b64encode(path.read_bytes()).decode()
