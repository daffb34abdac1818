"""What keeping the raw samples costs: bytes a request, and the seconds to save and load a million of them.

    python -m benchmarks.claims.sample_storage

Prints one JSON object. Requests are simulated: service times of 100 us, lognormal with a standard deviation of 8 %,
served in order of arrival after the driver's own time of 0.5 us or more. Raw are the samples and schedule lags as the
driver records them, int64. Beside them stand what numpy's own compressed file of the same arrays takes, and what
exporting the run's histograms does. Every measurement is checked to be equal after it was loaded; times are the best
of three.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.queues import lognormal_services, poisson_arrivals, simulate
from benchmarks.synthetic import machine
from servefit.profiler.evidence.hdr_export import save_histogram
from servefit.profiler.machine.host import describe_host
from servefit.profiler.record.storage.measurements import load_measurement, save_measurement
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop, OpenLoop, Traffic
from servefit.profiler.record.types import Configuration, Measurement, Run, Samples, TelemetryPoint

REQUESTS = 1_000_000
SERVICE_NS = 100_000
OWN_NS = 500
JITTER_NS = 100
BEGIN_NS = 10**15
LOOK_NS = NS_PER_S // 10
REPETITIONS = 3
SIMULATED: dict[str, tuple[float | None, int]] = {
    "Poisson, 10 % load, 1 worker": (1_000, 1),
    "Poisson, 90 % load, 1 worker": (9_000, 1),
    "Poisson, 75 % load, 2 workers": (15_000, 2),
    "closed loop, 1 worker": (None, 1),
}


def simulated(rate_per_s: float | None, workers: int) -> Measurement:
    """Simulate a measurement of a million requests; without a rate, each arrives when the one before it is answered."""
    random = np.random.default_rng(1)
    services = lognormal_services(SERVICE_NS, 0.08, REQUESTS, random)
    own = OWN_NS + random.exponential(JITTER_NS, REQUESTS)
    traffic: Traffic
    if rate_per_s is None:
        arrivals = np.cumsum(services + own) - services - own
        responses = services + own
        traffic = ClosedLoop.constant(users=1, duration_s=arrivals[-1] / NS_PER_S)
        lags = own[:0]
    else:
        arrivals = poisson_arrivals(rate_per_s / NS_PER_S, REQUESTS, random)
        responses = simulate(arrivals, services + own, workers)
        traffic = OpenLoop(rate_per_s=rate_per_s, duration_s=arrivals[-1] / NS_PER_S)
        lags = own[responses - services - own < 1]
    columns = (arrivals, arrivals + responses - services, arrivals + responses)
    scheduled, started, ended = (BEGIN_NS + column.astype(np.int64) for column in columns)
    looks = range(BEGIN_NS + LOOK_NS, int(ended.max()), LOOK_NS)
    run = Run(
        driver="inprocess",
        traffic=traffic,
        samples=Samples(scheduled=scheduled.tobytes(), started=started.tobytes(), ended=ended.tobytes()),
        plateau_ns=(BEGIN_NS, int(scheduled.max()) + 1),
        offered=REQUESTS,
        backlog=0,
        lags=lags.astype(np.int64).tobytes(),
        busy_cpu_ns=int(services.sum()),
        threads_per_worker=(1,) * workers,
        threads_outside=0,
        peak_memory_bytes=10**8,
        telemetry=tuple(
            TelemetryPoint(at_ns=at, over_ns=LOOK_NS, cpu_percent=100 * random.random(), memory_bytes=10**8)
            for at in looks
        ),
    )
    return Measurement(
        configuration=Configuration(vcpus=workers, backend="simulated", workers=workers),
        host_fingerprint="none",
        containment="uncontained",
        envelope="affinity",
        memory_limit_bytes=None,
        cpus=tuple(range(workers)),
        runs=(run,),
        load_s=0.0,
        peak_memory_bytes=10**8,
    )


def cost(measurement: Measurement, folder: Path) -> dict[str, float]:
    """Return the bytes a request and the seconds that storing one measurement takes."""
    (run,) = measurement.runs
    own, numpys = folder / "own", folder / "numpys.npz"
    arrays = (run.samples.scheduled_ns(), run.samples.started_ns(), run.samples.ended_ns(), run.lags_ns())
    figures = {
        "save_s": best_s(lambda: save_measurement(measurement, own)),
        "load_s": best_s(lambda: load_measurement(own)),
        "numpy_save_s": best_s(lambda: np.savez_compressed(numpys, *arrays)),
        "numpy_load_s": best_s(lambda: list(np.load(numpys).values())),
        "histograms_s": best_s(lambda: save_histogram(run, folder / "times.hlog")),
    }
    if load_measurement(own) != measurement:
        raise SystemExit("what was loaded is not what was saved")
    sizes = {
        "raw_bytes": sum(array.nbytes for array in arrays),
        "stored_bytes": own.stat().st_size,
        "numpy_bytes": numpys.stat().st_size,
        "histograms_bytes": (folder / "times.hlog").stat().st_size,
    }
    per_request = {f"{name}_a_request": round(size / REQUESTS, 2) for name, size in sizes.items()}
    return per_request | {name: round(seconds, 3) for name, seconds in figures.items()}


def best_s(work: Callable[[], Any]) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(once() for _ in range(REPETITIONS))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        figures = {name: cost(simulated(*of), Path(folder)) for name, of in SIMULATED.items()}
    print(json.dumps({"machine": machine(describe_host()), "requests": REQUESTS, "figures": figures}, indent=2))


if __name__ == "__main__":
    main()
