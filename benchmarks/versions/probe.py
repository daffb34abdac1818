"""Times one thing in the checkout whose Python runs this, and writes what it found into FILE, as JSON.

    CHECKOUT/.venv/bin/python probe.py CHECKOUT FILE overhead CPU
    CHECKOUT/.venv/bin/python probe.py CHECKOUT FILE forest CPU MODEL ROWS.csv
    CHECKOUT/.venv/bin/python probe.py CHECKOUT FILE command ARGUMENT...

The checkout is a version of servefit that may have its modules elsewhere. So only names are imported that no version
moves: public ones, those of ``servefit.backends``, and the checkout's own ``benchmarks.synthetic``.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import runpy
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

OVERHEAD_S = 1.5  # more than a million requests
CALLS_S, SETTLING_S = 0.5, 0.2
GROUP = 32  # calls between two readings of the clock: some 0.5 ms, and reading it takes 60 ns


def overhead(cpu: int) -> float:
    """Return what the in-process driver adds to a request in a closed loop of one user, in us: the median response
    time of a predictor that does nothing."""
    import numpy as np

    from benchmarks.synthetic import start
    from servefit import ClosedLoop

    with start({"act": "nothing"}, cpus=(cpu,)) as workers:
        samples = workers.run(ClosedLoop.constant(users=1, duration_s=OVERHEAD_S)).samples
    return float(np.median(samples.ended_ns() - samples.scheduled_ns())) / 1000


def forest(cpu: int, model: str, rows_file: str) -> float:
    """Return the median call of the backend forest with one row and one thread, in us. Rows are rotated through."""
    os.sched_setaffinity(0, {cpu})
    import numpy as np

    import servefit
    from servefit.backends.compilation import load_predictor
    from servefit.backends.types import Settings

    predictor = load_predictor(servefit.compile_model(model, "forest").artifact, Settings(threads=1))
    rows = np.loadtxt(rows_file, delimiter=",", skiprows=1, dtype=np.float32)
    calls = cycle([rows[row : row + 1] for row in range(len(rows))])
    gc.disable()
    _groups_us(predictor.predict, calls, for_s=SETTLING_S)
    return median(_groups_us(predictor.predict, calls, for_s=CALLS_S))


def _groups_us(predict: Any, calls: Any, *, for_s: float) -> list[float]:
    """Return the mean call of each group of calls, in us."""
    found: list[float] = []
    clock = time.perf_counter_ns
    end = clock() + round(1e9 * for_s)
    ended = 0
    while ended < end:
        group = list(islice(calls, GROUP))
        began = clock()
        for rows in group:
            predict(rows)
        ended = clock()
        found.append((ended - began) / 1000 / GROUP)
    return found


def main() -> None:
    checkout, file, what, *arguments = sys.argv[1:]
    sys.path[0] = checkout
    if what == "command":
        sys.argv = ["servefit", *arguments]
        try:
            runpy.run_module("servefit", run_name="__main__", alter_sys=True)
        finally:
            # Of this process alone. Measuring is done by others, and so is compiling.
            used = resource.getrusage(resource.RUSAGE_SELF)
            Path(file).write_text(json.dumps(used.ru_utime + used.ru_stime))
        return
    cpu = int(arguments[0])
    Path(file).write_text(json.dumps(overhead(cpu) if what == "overhead" else forest(cpu, *arguments[1:])))


if __name__ == "__main__":
    main()
