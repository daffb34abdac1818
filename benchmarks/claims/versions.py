"""Two checkouts of servefit beside each other: what must not move from one version to the next.

    python -m benchmarks.claims.versions OLD NEW [--rounds 5] [--skip NAME ...] [--format table|json]

OLD and NEW are folders with a ``.venv`` each that has the folder's servefit. Measured are

- overhead: what the in-process driver adds to a request,
- endpoint: requests a second and p50 of ``servefit serve``, as wrk sees them; needs wrk, taskset and two CPUs,
- forest: a call with one row,
- help: CPU time of ``servefit --help``,
- job: wall time of a small ``servefit recommend``, and CPU time of its own process, which does not measure,
- demo: the same of ``servefit demo``.

All of that is done once a turn, in fresh processes, and turns are old new new old or new old old new by the toss of a
coin. A figure has moved where the whole 95 % interval of new over old, over the rounds, lies beyond 3 % of one. Three
rounds or more give an interval, the more the narrower.

Exit status: 0 where nothing has moved for certain, 1 where something has, in whatever direction, 2 where something
could not be measured. The measuring slot is held throughout. A round takes about four minutes, of which the demo takes
more than half.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from benchmarks.servers.running import FAILURES
from benchmarks.synthetic import machine
from benchmarks.versions.checkout import Checkout, CheckoutError
from benchmarks.versions.figures import CHECKED, MEASURES, Subject
from benchmarks.versions.ratios import LIMIT, Side, ratio_of, turns
from servefit.demo import fraud_model, fraud_payload
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.slot.holding import measuring_slot

MOVED, NOT_MEASURED = 1, 2
WITHOUT_MODEL = {"overhead", "help", "demo"}

Turn = tuple[Side, Mapping[str, float]]


def subject(folder: Path, names: Sequence[str]) -> Subject:
    """Return the demo's model and payload, which are made where one of ``names`` asks for them."""
    if set(names) <= WITHOUT_MODEL:
        return Subject(model=folder, payload=folder, expected=(), folder=folder)
    import numpy as np
    import xgboost

    model, payload = fraud_model(), fraud_payload()
    rows = np.loadtxt(payload, delimiter=",", skiprows=1, dtype=np.float32, max_rows=CHECKED)
    expected = xgboost.Booster(model_file=model).inplace_predict(rows)
    return Subject(model=model, payload=payload, expected=tuple(map(float, expected)), folder=folder)


def measure(checkout: Checkout, given: Subject, names: Sequence[str]) -> dict[str, float]:
    checkout.renew_files()
    return {name: value for each in names for name, value in MEASURES[each](checkout, given).items()}


def in_turns(checkouts: Mapping[Side, Checkout], given: Subject, names: Sequence[str], rounds: int) -> list[list[Turn]]:
    """Return the four turns of every round, after one of each checkout that counts for nothing: it compiles models and
    bytecode."""
    for side, checkout in checkouts.items():
        say(f"preparing {side}")
        measure(checkout, given, names)
    coin = Random(0)
    measured: list[list[Turn]] = []
    for number in range(1, rounds + 1):
        say(f"round {number} of {rounds}")
        measured.append([(side, measure(checkouts[side], given, names)) for side in turns(coin)])
    return measured


def results(measured: Sequence[Sequence[Turn]]) -> dict[str, dict[str, Any]]:
    """Return, for every figure, its medians, the ratio and what is to be said of it."""
    found = {}
    for name in measured[0][0][1]:
        ratio = ratio_of([[(side, figures[name]) for side, figures in each] for each in measured])
        medians = {
            which: median(figures[name] for each in measured for side, figures in each if side == which)
            for which in ("old", "new")
        }
        found[name] = {**medians, **asdict(ratio), "verdict": ratio.verdict}
    return found


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    words = {"within": f"within {LIMIT:.0%}", "beyond": f"BEYOND {LIMIT:.0%}", "undecided": "undecided"}
    lines = [("figure", "old", "new", "new / old", "95 % interval", "")]
    for name, figure in found.items():
        interval = "-" if figure["ci95"] is None else "{:.3f} to {:.3f}".format(*figure["ci95"])
        medians = (f"{figure['old']:.5g}", f"{figure['new']:.5g}")
        lines.append((name, *medians, f"{figure['value']:.3f}", interval, words[figure["verdict"]]))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD")
    parser.add_argument("new", type=Path, metavar="NEW")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip", action="append", default=[], choices=MEASURES, metavar="NAME", help="repeatable")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    names = [name for name in MEASURES if name not in options.skip]
    if options.rounds < 1 or not names:
        parser.error("nothing to measure")
    with (
        measuring_slot("comparison of versions"),
        tempfile.TemporaryDirectory(prefix="servefit-versions-") as temporary,
    ):
        folder = Path(temporary)
        try:
            checkouts: dict[Side, Checkout] = {
                "old": Checkout.open(options.old, state=folder / "old"),
                "new": Checkout.open(options.new, state=folder / "new"),
            }
            found = results(in_turns(checkouts, subject(folder, names), names, options.rounds))
        except (CheckoutError, *FAILURES) as error:
            say(str(error))
            return NOT_MEASURED
    if options.format == "json":
        print(json.dumps({"machine": machine(describe_host()), "rounds": options.rounds, "figures": found}, indent=2))
    else:
        print(table(found))
    return MOVED if any(figure["verdict"] == "beyond" for figure in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
