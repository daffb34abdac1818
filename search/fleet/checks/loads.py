"""A test under load held against its order: what was loaded, where, by which arrivals, and what comes of its samples.

Arrivals are drawn from the seed of the order, here as on the host, so samples that are of another rate, seed or
duration are due at other times. Figures and verdict are worked out again from the samples; those of the answer are
compared with them and then left.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NoBase64
from dataclasses import replace
from math import isclose
from typing import TYPE_CHECKING

import numpy as np

from servefit.errors import SpecError, UnreadableMeasurement
from servefit.profiler.arrivals.seeds import derived_seed
from servefit.profiler.procedures.decided_runs import ATTEMPTS
from servefit.profiler.procedures.open_loops import whole_cycles_s
from servefit.profiler.record.storage.measurements import measurement_of
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop, OpenLoop
from servefit.search.capacity.predicted_endpoint import predicted_endpoint
from servefit.search.fleet.checks.rates import check_rate
from servefit.search.fleet.checks.unfit import Unfit, same
from servefit.search.jobs.closing import has_client_cpu
from servefit.search.request.arrivals import cycle_s
from servefit.search.results.judged_again import judged_again, tests_in
from servefit.search.results.measure_trial import MAX_CAPACITY_S, SCREENING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.machine.host import Host
    from servefit.profiler.record.types import DriverName, Measurement, Run
    from servefit.search.fleet.checks.rates import TimedCalls
    from servefit.search.jobs.orders import Load
    from servefit.search.results.recommendation import Trial

MAX_BYTES = 2**30
"""Of samples, unpacked: those of 40 million requests. PostgreSQL holds no longer text in a row either."""

_SAME = 1e-6
"""Relative: sums of the same numbers in another order differ by less."""

_NS_SAME = 1_000
"""Between when a request was due and when its seed says: both are whole nanoseconds of the same clock."""

MIN_PLATEAU = 0.9
"""Of a run that nothing ended, figures are of so much at least. Chosen, not measured."""


def checked_load(asked: Load, trial: Trial, recorded: str | None, host: Host, calls: TimedCalls) -> Trial:
    """Return the trial that the samples ``recorded`` on ``host`` make, in place of ``trial``, which the host says.
    Raises Unfit where the two are not about what was ``asked``, or not possible there."""
    same("configuration", trial.configuration, asked.configuration)
    same("round", trial.round, asked.nth_round)
    same("basis", trial.basis, "measured" if asked.costs is None else "predicted")
    if trial.kept_in not in (None, f"measurements/{asked.step:04}.servefit"):
        raise Unfit("its samples are said to be kept where no step has them")
    rate_per_s, instances = asked.request.sla.rate_per_s, trial.instance_count
    if instances < 1 or (asked.instances is not None and asked.costs is None and instances != asked.instances):
        raise Unfit(f"its figures are of {instances} instances")
    measurement = _measurement(recorded)
    _check_measured(asked, measurement, host)
    for nth, runs in enumerate(tests_in(measurement.runs)):
        _check_test(asked, nth, runs, host)
    alone = _alone(trial)
    try:
        again = judged_again(
            measurement,
            asked.request,
            alone.instance_count,
            instances=asked.instances,
            nth_round=asked.nth_round,
            chances=asked.chances,
        )
        predicted = again
        if asked.costs is not None:
            closed = measurement.runs[0]
            predicted = predicted_endpoint(again, asked.costs, asked.request, timed=asked.timed, closed=closed)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise Unfit(f"nothing comes of its samples: {error}") from error
    if rate_per_s is not None and again.at_rate is None and again.capacity.throughput_per_s:
        raise Unfit(f"it has no samples at {rate_per_s / alone.instance_count:g} requests/s, which were asked for")
    _check_figures(alone, again)
    for summary in (again.capacity, again.at_rate):
        if summary is not None:
            check_rate(asked.configuration, summary.throughput_per_s, calls)
    return replace(predicted, kept_in=trial.kept_in)


def _alone(trial: Trial) -> Trial:
    """Return what was measured of a trial whose figures are predicted from that."""
    if trial.alone is None:
        return trial
    alone = trial.alone
    return replace(trial, capacity=alone.capacity, at_rate=alone.at_rate, instance_count=alone.instance_count)


def _measurement(recorded: str | None) -> Measurement:
    if recorded is None:
        raise Unfit("no samples came with it: update servefit on that host, or see that its disk has room")
    try:
        return measurement_of(b64decode(recorded, validate=True), "samples", most_bytes=MAX_BYTES)
    except (NoBase64, UnreadableMeasurement) as error:
        raise Unfit(f"its samples cannot be read: {error}") from error


def _check_measured(asked: Load, measurement: Measurement, host: Host) -> None:
    same("configuration of samples", measurement.configuration, asked.configuration)
    if measurement.host_fingerprint != host.fingerprint:
        raise Unfit(
            f"it was measured on a host with the fingerprint {measurement.host_fingerprint:.12}, and its agent "
            f"registered {host.fingerprint}"
        )
    same("number of CPUs", len(set(measurement.cpus)), asked.configuration.vcpus)
    if not set(measurement.cpus) <= {cpu.cpu for cpu in host.cpus}:
        raise Unfit(f"it was measured on CPUs that its host does not have: {measurement.cpus!r:.80}")
    # A kernel gives whole pages.
    if asked.memory_bytes is not None and (measurement.memory_limit_bytes or 0) > asked.memory_bytes:
        raise Unfit(
            f"it was measured in {measurement.memory_limit_bytes} bytes, and {asked.memory_bytes} were asked for"
        )
    tests = list(tests_in(measurement.runs))
    if not 1 <= len(tests) <= asked.runs:
        raise Unfit(f"it has the samples of {len(tests)} tests, and {asked.runs} were asked for")


def _check_test(asked: Load, nth: int, runs: Sequence[Run], host: Host) -> None:
    closed, *loops = runs
    request, durations = asked.request, asked.durations.covering_cycle(cycle_s(asked.request))
    if not isinstance(closed.traffic, ClosedLoop):
        raise Unfit("its samples do not begin with a closed loop")
    longest_s = max(durations.capacity_s, MAX_CAPACITY_S)
    if request.phases is not None:
        same("phases", closed.traffic, request.phases)
    elif not durations.capacity_s <= closed.traffic.duration_s <= longest_s or len(closed.traffic.phases) != 1:
        raise Unfit(f"its closed loop took {closed.traffic.duration_s:g} s")
    for run in runs:
        same("driver", run.driver, _driver(asked, host))
        _check_plateau(run)
        _check_samples(run)
    for run in loops:
        traffic, rate_per_s = run.traffic, request.sla.rate_per_s
        if not isinstance(traffic, OpenLoop) or rate_per_s is None:
            raise Unfit("it has samples of loads that were not asked for")
        instances = max(1, round(rate_per_s / traffic.rate_per_s))
        if traffic.rate_per_s != rate_per_s / instances:
            raise Unfit(f"its samples are at {traffic.rate_per_s:g} requests/s, and {rate_per_s:g} were asked for")
        same("arrivals", traffic.arrivals, request.arrivals)
        first = derived_seed(derived_seed(asked.seed, nth), instances)
        if traffic.seed not in (first, *(derived_seed(first, attempt) for attempt in range(1, ATTEMPTS))):
            raise Unfit(f"its arrivals are of the seed {traffic.seed}, which the order does not lead to")
        least_s, most_s = SCREENING.at_rate_s, max(durations.at_rate_s, durations.at_rate_max_s, SCREENING.at_rate_s)
        cycle = cycle_s(request)
        if not whole_cycles_s(least_s, cycle) <= traffic.duration_s <= whole_cycles_s(max(most_s, cycle), cycle):
            raise Unfit(f"its load took {traffic.duration_s:g} s, and {most_s:g} s were asked for at most")
        _check_arrivals(run, traffic)


def _driver(asked: Load, host: Host) -> DriverName:
    """Return what puts the deployment of ``asked`` under load; see ``Deployments``."""
    is_endpoint = (asked.request.deployment == "endpoint") is (asked.started == "asked")
    if asked.started == "asked" and not has_client_cpu(asked.configuration, host):
        is_endpoint = False
    return "http" if is_endpoint else "inprocess"


def _check_plateau(run: Run) -> None:
    begin_ns, end_ns = run.plateau_ns
    took_s = (end_ns - begin_ns) / NS_PER_S
    whole = run.stopped is None and (isinstance(run.traffic, OpenLoop) or len(run.traffic.phases) == 1)
    if not 0 < took_s <= run.traffic.duration_s + 1 or (whole and took_s < MIN_PLATEAU * run.traffic.duration_s):
        raise Unfit(f"its figures are of {took_s:g} s of a load of {run.traffic.duration_s:g} s")


def _check_samples(run: Run) -> None:
    scheduled, started, ended = run.samples.scheduled_ns(), run.samples.started_ns(), run.samples.ended_ns()
    if not len(scheduled) == len(started) == len(ended):
        raise Unfit("its samples are not of the same requests")
    served = ended > 0
    if (ended[served] < scheduled[served]).any():
        raise Unfit("its requests were answered before they were due")


def _check_arrivals(run: Run, traffic: OpenLoop) -> None:
    """Raise Unfit where requests were not due when ``traffic`` says, or not as many as it does. A load that was ended
    before its time has the first of them."""
    try:
        drawn_ns = traffic.arrivals_ns()
    except SpecError:
        return  # of a shape that is not here, or a trace that is on the host alone
    scheduled_ns = run.samples.scheduled_ns()
    count = len(scheduled_ns)
    if count > len(drawn_ns) or (run.stopped is None and count < len(drawn_ns)):
        raise Unfit(
            f"it has {count:,} samples, and {traffic.rate_per_s:g} requests/s for {traffic.duration_s:g} s are "
            f"{len(drawn_ns):,} by its seed"
        )
    if count and np.abs(np.diff(scheduled_ns - drawn_ns[:count])).max(initial=0) > _NS_SAME:
        raise Unfit("its requests were not due when the seed of the order says")


def _check_figures(trial: Trial, again: Trial) -> None:
    for what, one, other in (("capacity", trial.capacity, again.capacity), ("rate", trial.at_rate, again.at_rate)):
        if (one is None) is not (other is None):
            raise Unfit(f"its {what} is not what its samples say")
        if one is None or other is None:
            continue
        if one.samples != other.samples or not isclose(one.throughput_per_s, other.throughput_per_s, rel_tol=_SAME):
            raise Unfit(
                f"its {what} is {one.throughput_per_s:g} requests/s of {one.samples:,} samples, and its samples say "
                f"{other.throughput_per_s:g} of {other.samples:,}"
            )
