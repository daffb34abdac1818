"""How often ``--quality`` says PASS of an artifact that drops by all that is allowed, and of one that does not drop.

    python -m benchmarks.claims.quality_verdicts [--sets 400] [--only TEXT]

Label sets are drawn (benchmarks/precision/drawn_sets.py, seeded) with predictions of a reference and a candidate whose
true drop is known, and each is judged as a job judges it. "at the limit": the true drop is the limit itself, so that
PASS and FAIL are both wrong; the aim is 5 % of sets at most for either. "no drop": PASS is right, and its share is the
power that so many rows have; the rest is UNDECIDED, or a FAIL, which is wrong. Where every row is right or wrong, the
shares are also summed over all outcomes, which has no luck in it.

Prints one JSON object. An aim is missed where a sum is above 5 %, or where so many of the sets are, that with 5 % it
would happen once in a hundred times. The exit status is 1 then. It takes about fifteen minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
from scipy.stats import binom

from benchmarks.precision.drawn_sets import Case, of_accuracy, of_auc, of_f1, of_mae, of_r2, shares_changed
from benchmarks.synthetic import machine
from servefit.backends.quality.drop import judged_drop
from servefit.backends.quality.limits import QualityLimit
from servefit.backends.quality.metrics import metric_named
from servefit.backends.quality.pairs import least_drop, most_drop
from servefit.profiler.machine.host import describe_host

AIM, LUCK = 0.05, 0.01
UNLIKELY = 1e-7
"""Outcomes that are left out of sums, all of them together."""

CASES = (
    *(
        Case(metric="accuracy", rows=rows, limit=limit, changed=changed, draw=of_accuracy(changed))
        for rows, limit, changed in (
            (400, 0.02, 0.02),
            (400, 0.02, 0.06),
            (700, 0.005, 0.005),
            (700, 0.005, 0.02),
            (2000, 0.005, 0.01),
            (2000, 0.005, 0.05),
            (9700, 0.005, 0.01),
        )
    ),
    Case(metric="auc", rows=1000, limit=0.01, draw=of_auc),
    Case(metric="f1", rows=1000, limit=0.02, draw=of_f1),
    Case(metric="r2", rows=1000, limit=0.01, draw=of_r2),
    Case(metric="mae", rows=1000, limit=0.02, draw=of_mae),
)


def verdicts(case: Case, drop: float, sets: int) -> Counter[str]:
    """Return how often each verdict is said of ``sets`` sets with that true drop."""
    metric = metric_named(case.metric)
    if metric is None:
        raise RuntimeError(f"{case.metric} is no metric of servefit's")
    limit, found = QualityLimit(source="drawn", metric=case.metric, drop=case.limit), Counter[str]()
    for seed in range(sets):
        reference, candidate = case.draw(np.random.default_rng(seed), case.rows, drop)
        found[judged_drop(limit, metric, reference, {"together": candidate}).verdict] += 1
    return found


def summed(case: Case, drop: float) -> dict[str, float]:
    """Return the probabilities of PASS and FAIL where every row is right or wrong, summed over what can happen."""
    shares, rows = shares_changed(case.changed or 0.0, drop), case.rows
    many = [range(*(int(binom.ppf(end, rows, share)) for end in (UNLIKELY, 1 - UNLIKELY))) for share in shares]
    found = {"PASS": 0.0, "FAIL": 0.0}
    for lost in (*many[0], many[0].stop):
        of_lost = binom.pmf(lost, rows, shares[0])
        for won in (*many[1], many[1].stop):
            likely = of_lost * binom.pmf(won, rows - lost, shares[1] / (1 - shares[0]))
            if most_drop(lost, won, rows) <= case.limit:
                found["PASS"] += likely
            elif least_drop(lost, won, rows) > case.limit:
                found["FAIL"] += likely
    return {verdict: round(float(probability), 4) for verdict, probability in found.items()}


def judged(case: Case, sets: int) -> dict[str, Any]:
    """Return what comes out at the limit and without a drop, and whether the aims are met."""
    document: dict[str, Any] = {}
    met = True
    for name, drop in (("at the limit", case.limit), ("no drop", 0.0)):
        found = verdicts(case, drop, sets)
        document[name] = {verdict: found[verdict] / sets for verdict in ("PASS", "FAIL", "UNDECIDED")}
        wrong = ("PASS", "FAIL") if drop else ("FAIL",)
        met &= all(binom.sf(found[verdict] - 1, sets, AIM) >= LUCK for verdict in wrong)
        if case.changed is not None:
            document[name]["summed"] = summed(case, drop)
            met &= all(document[name]["summed"][verdict] <= AIM for verdict in wrong)
    return {**document, "met": met}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=400)
    parser.add_argument("--only", default="", help="cases whose names have this in them")
    asked = parser.parse_args()
    began_s = time.monotonic()
    found = {}
    for case in CASES:
        if asked.only in case.name:
            found[case.name] = judged(case, asked.sets)
            print(case.name, json.dumps(found[case.name]), file=sys.stderr, flush=True)
    met = all(each["met"] for each in found.values())
    elapsed_s = round(time.monotonic() - began_s)
    print(
        json.dumps({"machine": machine(describe_host()), "elapsed_s": elapsed_s, "cases": found, "met": met}, indent=1)
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
