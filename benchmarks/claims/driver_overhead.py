"""What measuring adds to a request, with a predictor that does nothing.

    python -m benchmarks.claims.driver_overhead

Prints one JSON object; times are in microseconds, and of the machine described with them.

- The microbenchmark: what one call of the predictor takes, as it finds it.
- The in-process driver, requests following each other without a pause: in a closed loop, and in an open one whose
  arrivals are all due. Response time is here what claiming, timing, recording and calling the predictor cost.
- The in-process driver at 1000 arrivals a second: how late a waiting worker begins (schedule lag), and the response
  time of a request that finds caches cold.
- MLPerf LoadGen (mlcommons-loadgen, if it is installed) on the same predictor: its latencies in the scenarios
  SingleStream and Server, the latter at 1000 queries a second.
"""

from __future__ import annotations

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.synthetic import Nothing, machine, percentiles, start
from servefit.profiler.drivers.inprocess.timing import WorkerTimeCalls
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import Host, describe_host
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop

DURATION_S = 3.0
RATE_PER_S = 1000
PAIR = 2


def microbenchmark(host: Host) -> dict[str, Any]:
    with start({"act": "nothing"}, cpus=choose_cpus(host.cpus, 1)) as workers:
        (times,) = workers.time_calls(WorkerTimeCalls())
    return {"call": percentiles(times.durations_ns() / times.calls_per_duration / 1000), "calls": times.calls}


def driver(host: Host, *, workers: int) -> dict[str, Any]:
    with start({"act": "nothing"}, cpus=choose_cpus(host.cpus, workers), workers=workers) as started:
        closed = started.run(ClosedLoop.constant(users=workers, duration_s=DURATION_S))
        due = started.run(OpenLoop(rate_per_s=2_000_000, duration_s=0.5, backlog_cap=10**9))
        paced = started.run(OpenLoop(rate_per_s=RATE_PER_S, duration_s=2 * DURATION_S))
    found = {
        "workers": workers,
        "closed_loop": percentiles((closed.samples.ended_ns() - closed.samples.scheduled_ns()) / 1000),
        "closed_loop_requests": len(closed.samples.ended_ns()),
        "open_loop_lag": percentiles(paced.lags_ns() / 1000),
        "open_loop_response": percentiles((paced.samples.ended_ns() - paced.samples.scheduled_ns()) / 1000),
        "open_loop_requests": paced.offered,
    }
    if workers == 1:  # only then is the time between two answers that of one request
        answered = due.samples.ended_ns()
        found["open_loop_all_due"] = percentiles(np.diff(answered[answered > 0]) / 1000)
    return found


def loadgen(*, server: bool) -> dict[str, float]:
    """Return the figures that LoadGen reports for the same predictor."""
    import mlperf_loadgen as lg

    predict, rows = Nothing().predict, np.zeros((1, 30), dtype=np.float32)

    def issue(samples: list[Any]) -> None:
        for sample in samples:
            predict(rows)
            lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])

    settings = lg.TestSettings()
    settings.scenario = lg.TestScenario.Server if server else lg.TestScenario.SingleStream
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = settings.max_duration_ms = round(1000 * DURATION_S)
    settings.server_target_qps = RATE_PER_S
    library = lg.ConstructQSL(1000, 1000, lambda _: None, lambda _: None)
    system = lg.ConstructSUT(issue, lambda: None)
    with tempfile.TemporaryDirectory() as folder:
        output = lg.LogOutputSettings()
        output.outdir = folder
        log = lg.LogSettings()
        log.log_output = output
        lg.StartTestWithLogSettings(system, library, settings, log)
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text()
    lg.DestroySUT(system)
    lg.DestroyQSL(library)
    found = {}
    for line in summary.splitlines():
        name, _, value = line.partition(" percentile latency (ns)")
        if value and name in {"50.00", "95.00", "99.00"}:
            found[f"p{float(name):g}"] = int(value.strip(" :")) / 1000
    return found


def main() -> None:
    host = describe_host()
    result: dict[str, Any] = {
        "machine": machine(host),
        "microbenchmark": microbenchmark(host),
        "driver, one worker": driver(host, workers=1),
    }
    if host.logical_cpus >= PAIR:
        result["driver, two workers"] = driver(host, workers=PAIR)
    installed = find_spec("mlperf_loadgen") is not None
    for scenario in ("SingleStream", "Server"):
        name = f"LoadGen {scenario}"
        result[name] = loadgen(server=scenario == "Server") if installed else "pip install mlcommons-loadgen"
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
