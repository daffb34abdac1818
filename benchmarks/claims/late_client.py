"""Whether a load client that others keep from its CPU is noticed, and what is told of the rest of its runs.

    python -m benchmarks.claims.late_client [--rounds 10]

Prints one JSON object. An endpoint of ``fraud`` with forest on one CPU is sent 500 requests a second for 2 s from
another CPU, in turns with nothing beside the client and with a process that wants the client's CPU for 10, 30 and 50 %
of every second, each in fresh processes with other arrivals. Counted is how many runs have a problem, and how many have
none without the stretches in which requests were sent late; of these the p95 is held against that of the quiet run of
the same round. What the second quiet run of a round has is what the machine does by itself. The limit is a p95 of
20 ms. It takes about three minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from math import exp
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models.forest_models import benchmark_model
from benchmarks.neighbours import neighbour
from benchmarks.synthetic import machine
from servefit.backends.compilation import compile_model
from servefit.profiler.drivers.start_driver import endpoint_for
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.undisturbed import left_out_s
from servefit.profiler.evidence.validity import problems, without_disturbances
from servefit.profiler.machine.cpus import choose_cpus, client_cpus
from servefit.profiler.machine.host import describe_host
from servefit.profiler.record.traffic import OpenLoop
from servefit.profiler.record.types import Configuration

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run

MODEL, RATE_PER_S, DURATION_S, LIMIT_MS = "fraud", 500, 2.0, 20.0
DUTIES = (0.0, 0.1, 0.3, 0.5)


def summed_up(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what became of the runs beside one neighbour."""
    valid = [each for each in found if each["p95_over_quiet"] is not None]
    ratios = sorted(each["p95_over_quiet"] for each in valid)
    whole = [each["whole_over_quiet"] for each in found]
    return {
        "runs": len(found),
        "with a problem": sum(bool(each["kinds"]) for each in found),
        "valid in the end": len(valid),
        "left out, s": round(fmean(each["left_out_s"] for each in found), 3),
        "p95 over the quiet one": None
        if not ratios
        else [round(each, 3) for each in (ratios[0], median(ratios), ratios[-1])],
        "p50 over the quiet one": None if not valid else round(median(each["p50_over_quiet"] for each in valid), 3),
        "geometric mean": None if not ratios else round(exp(fmean(np.log(ratios))), 3),
        "of all requests": round(exp(fmean(np.log(whole))), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    host, subject = describe_host(), benchmark_model(MODEL)
    artifact = compile_model(subject.model, "forest").artifact
    cpus = choose_cpus(host.cpus, 1)
    client = client_cpus(host.cpus, cpus)[0]
    configuration = Configuration(vcpus=1, backend="forest")
    found: dict[float, list[dict[str, Any]]] = {duty: [] for duty in DUTIES}
    for nth in range(given.rounds):
        quiet_ms = quiet_p50_ms = None
        for turn, duty in enumerate((0.0, *DUTIES)):
            traffic = OpenLoop(rate_per_s=RATE_PER_S, duration_s=DURATION_S, seed=10 * nth + turn)
            with endpoint_for(configuration, artifact, subject.model.signature, subject.rows, host=host) as driver:
                with neighbour(client, duty):
                    run = driver.run(traffic)
                envelope = driver.envelope
            assert envelope is not None
            cpus, containment = envelope.cpus, envelope.containment
            kinds = [problem.kind for problem in problems(run, limit_ms=LIMIT_MS, cpus=cpus, containment=containment)]
            rest: Run | None = run
            if kinds:
                rest = without_disturbances(run, limit_ms=LIMIT_MS, cpus=cpus, containment=containment)
            p95_ms, p50_ms = (None if rest is None else summarize(rest).latency_ms[name] for name in ("p95", "p50"))
            if turn == 0:
                quiet_ms, quiet_p50_ms = p95_ms, p50_ms
                continue
            if quiet_ms is None:
                continue
            whole_ms = summarize(run).latency_ms["p95"]
            found[duty].append(
                {
                    "kinds": kinds,
                    "left_out_s": 0.0 if rest is None else left_out_s(rest),
                    "p95_over_quiet": None if p95_ms is None else p95_ms / quiet_ms,
                    "p50_over_quiet": None if p50_ms is None else p50_ms / (quiet_p50_ms or p50_ms),
                    "whole_over_quiet": (whole_ms or quiet_ms) / quiet_ms,
                }
            )
            print(duty, found[duty][-1], file=sys.stderr, flush=True)
    result = {
        "machine": machine(host),
        "duty of the neighbour": {f"{duty:.0%}": summed_up(found[duty]) for duty in DUTIES},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
