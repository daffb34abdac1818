"""Compares two deployments by measuring them in turns: another backend, other threads, or another model altogether."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack

from servefit.checks import check_above_zero, check_between
from servefit.errors import MeasurementError, SpecError
from servefit.keywords import with_keywords
from servefit.profiler.arrivals.seeds import derived_seed
from servefit.profiler.defaults import COMPARISON_S, MARGIN
from servefit.profiler.evidence.problem import one_of_each_kind
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.procedures.comparing.comparison import (
    MIN_BLOCKS,
    ComparedFigure,
    Comparison,
    Outcome,
    TooDisturbed,
    compare,
)
from servefit.profiler.procedures.decided_runs import run_valid
from servefit.profiler.procedures.microbenchmark.service_time import measure_p50_once
from servefit.profiler.procedures.prepare import (
    REQUEST_DEFAULTS,
    Deployment,
    Examined,
    Prepared,
    Requests,
    check_there,
    examine,
    model_name,
)
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, Traffic
from servefit.quantities import count_text, span_text
from servefit.showing import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from servefit.profiler.evidence.problem import Problem

Metric: TypeAlias = Literal["service time p50", "response time p95", "time per request"]
"""The figure to compare, less being better: the median time of one call, the p95 at a rate, or, of users who take
turns, the time that passes for every request answered."""

MIN_MEASUREMENTS = 8 * MIN_BLOCKS
"""Blocks of four, as many again for the comparison of the one with itself."""

_RUN_S = 1.0
"""Of a measurement under traffic: short, since turns cancel a drift only if they are shorter than it."""

_ENOUGH = 200
"""Requests a measurement: twice as many as a p95 takes (``samples_needed``)."""


@shown("metric", "comparison", "elapsed_s")
@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two deployments, ``one`` and ``other``, and what came out: ``comparison.ratio`` is other / one of ``metric``. It
    is None where the machine got in the way of too many measurements: ``problems`` are how, one of each kind.
    ``warnings`` are for whoever reads it."""

    one: Prepared
    other: Prepared
    metric: Metric
    comparison: Comparison | None
    elapsed_s: float
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def outcome(self) -> Outcome | Literal["INVALID"]:
        """The outcome of the comparison, INVALID where there is none."""
        return "INVALID" if self.comparison is None else self.comparison.outcome


@with_keywords(Requests, REQUEST_DEFAULTS)
def compare_deployments(
    model: Any,
    deployment: Deployment,
    against: Mapping[str, Any],
    *,
    rate: float | None = None,
    users: int | None = None,
    budget_s: float = COMPARISON_S,
    margin: float = MARGIN,
    allow_noise: bool = False,
    wait_s: float | None = None,
    on_prepared: Callable[[], None] | None = None,
    **requests: Unpack[Requests],
) -> Compared:
    """Compare two deployments by measuring them in turns.

    Every measurement is made by fresh processes; they take turns in ABBA blocks. Without traffic the median time of a
    call is compared, with ``rate`` the p95 of the response time, with ``users`` the throughput. A measurement under
    traffic that the machine disturbed is repeated, twice at most; else its block is left out and made again,
    and after a few such blocks the comparison ends.

    Args:
        model: What ``Model.load`` takes, or a Model.
        deployment: The first of the two.
        against: What is different about the second: fields of Deployment, and "model" for another model.
        payload: A path, or an array of shape (rows, features). Drawn from the model where there is none.
        rate: Requests a second in an open loop.
        users: Users of a closed loop.
        budget_s: About how many seconds all of it may take.
        margin: A difference of less counts as none: 0.02 is 2 %.
        rows_per_request: Rows of the payload in one request.
        seed: Seed of traffic and drawn rows.
        trust_pickle: Unpickle a model, which runs code.
        trust_code: Run the script of a model (code/inference.py).
        allow_noise: Let measurements count that the machine disturbed, and do not repeat them.
        wait_s: How long to wait while something else measures on this machine; None: until that is done.
        on_prepared: Called once both are compiled; None: nobody.

    Returns:
        The comparison, and the two deployments as they were measured.

    Raises:
        SpecError: What is asked makes no sense.
        ModelError: The model or the payload cannot be read.
        BackendError: One of the two cannot be compiled.
        MeasurementError: One of the two could not be measured, or SlotTaken after ``wait_s``.

    Example:
        ::

            compared = sf.compare_deployments("model.ubj", sf.Deployment(), {"backend": "onnxruntime"}, budget_s=5)
            print(compared.comparison)
    """
    if rate is not None and users is not None:
        raise SpecError("users", users, "cannot be combined with a rate", remedy="give one of them")
    check_above_zero("budget", budget_s)
    check_between("margin", margin, 0, 1)
    payload, rows_per_request, seed = requests["payload"], requests["rows_per_request"], requests["seed"]
    traffic = _traffic(rate, users, budget_s, seed)
    from servefit.backends.model import Model

    differing = replace(deployment, **_fields(against))
    check_there(model, payload)
    check_there(against.get("model", model))
    disturbances: list[Problem] = []

    @cache
    def examined() -> tuple[Examined, Examined]:
        first, second = (
            source
            if isinstance(source, Model)
            else Model.load(
                source, trust_pickle=requests["trust_pickle"], trust_code=requests["trust_code"], sample=payload
            )
            for source in (model, against.get("model", model))
        )
        one = examine(first, deployment, payload=payload, rows_per_request=rows_per_request, seed=seed)
        # Both answer the same requests: rows drawn from the first model are used for the second too.
        packed = first.signature.sizes or second.signature.sizes
        if packed and first.signature.packing != second.signature.packing:
            raise SpecError("against", "model", "takes other tensors, or sizes of other names, than the first")
        same = one.payload if one.payload.sizes else one.payload.rows
        return one, examine(second, differing, payload=same, rows_per_request=rows_per_request, seed=seed)

    with measuring_slot(f"comparison of {model_name(model)}", wait_s=wait_s, before_waiting=examined):
        began = time.monotonic()
        prepared, prepared_other = (one.compiled() for one in examined())
        if on_prepared is not None:
            on_prepared()
        comparison: Comparison | None = None
        with suppress(TooDisturbed):
            comparison = compare(
                lambda nth: _measure(prepared, _nth(traffic, nth), disturbances, allow_noise=allow_noise),
                lambda nth: _measure(prepared_other, _nth(traffic, nth), disturbances, allow_noise=allow_noise),
                budget_s=budget_s,
                seed=seed,
                margin=margin,
            )
    metric: Metric = "service time p50"
    if traffic is not None:
        metric = "response time p95" if isinstance(traffic, OpenLoop) else "time per request"
    return Compared(
        one=prepared,
        other=prepared_other,
        metric=metric,
        comparison=comparison,
        elapsed_s=time.monotonic() - began,
        warnings=(
            *prepared.model.warnings,
            *prepared.payload.warnings,
            *_warnings(disturbances, left_out=not allow_noise),
        ),
        problems=one_of_each_kind(disturbances),
    )


def _traffic(rate: float | None, users: int | None, budget_s: float, seed: int) -> Traffic | None:
    """Return what every measurement carries out, None for calls alone. Raises SpecError."""
    if users is not None:
        return ClosedLoop.constant(users=users, duration_s=_RUN_S)
    if rate is None:
        return None
    traffic = OpenLoop(rate_per_s=rate, duration_s=_RUN_S, seed=seed)
    if rate * _RUN_S >= _ENOUGH:
        return traffic
    needed_s = MIN_MEASUREMENTS * _ENOUGH / rate
    if needed_s > budget_s:
        raise SpecError(
            "rate",
            rate,
            f"takes {span_text(needed_s)} to compare at",
            remedy="ask for a higher rate, or give it that time",
        )
    return replace(traffic, duration_s=_ENOUGH / rate)


def _nth(traffic: Traffic | None, nth: int) -> Traffic | None:
    """Return ``traffic`` with arrivals of its own, which both deployments meet."""
    return replace(traffic, seed=derived_seed(traffic.seed, nth)) if isinstance(traffic, OpenLoop) else traffic


def _warnings(disturbances: Sequence[Problem], *, left_out: bool) -> Iterator[str]:
    times = Counter(problem.kind for problem in disturbances)
    for problem in one_of_each_kind(disturbances):
        measurements = count_text(times[problem.kind], "measurement")
        yield (
            f"the machine got in the way of {measurements} ({problem.kind})"
            f"{', which do not count' if left_out else ''}: {problem.reason}; {problem.remedy}"
        )


def _fields(against: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of Deployment in ``against``. Raises SpecError for any other name."""
    names = [field.name for field in fields(Deployment)]
    for name in against:
        if name not in (*names, "model"):
            raise SpecError.unknown("against", name, ["model", *names])
    if not against:
        raise SpecError("against", dict(against), "names no difference")
    return {name: value for name, value in against.items() if name != "model"}


def _measure(
    prepared: Prepared, traffic: Traffic | None, disturbances: list[Problem], *, allow_noise: bool
) -> ComparedFigure | None:
    """Make one measurement with fresh processes; what got in its way is added to ``disturbances``, and then there is no
    figure, unless with ``allow_noise``.

    Raises MeasurementError where there are too few samples for a figure.
    """
    if traffic is None:
        return measure_p50_once(
            prepared.configuration,
            prepared.compilation.artifact,
            prepared.payload.rows,
            host=prepared.host,
            memory_bytes=prepared.profile.memory_bytes,
            rows_per_request=prepared.rows_per_request,
        )
    with prepared.workers() as workers:
        run, problems = run_valid(workers, traffic, allow_noise=allow_noise)
    disturbances.extend(problems)
    if problems and not allow_noise:
        return None
    summary = summarize(run)
    value = summary.latency_ms["p95"] if summary.loop == "open" else None
    if summary.loop == "closed" and summary.throughput_per_s:
        value = 1 / summary.throughput_per_s
    if value is None or summary.saturated:
        backend = prepared.configuration.backend
        raise MeasurementError(
            f"{backend} cannot be compared: {'it is saturated' if summary.saturated else 'too few requests answered'}",
            remedy="ask for a lower rate" if summary.saturated else "ask for a higher rate",
        )
    return ComparedFigure(value=value, host_fingerprint=prepared.host.fingerprint)
