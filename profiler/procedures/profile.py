"""All that ``servefit profile`` asks for: from a model to figures of one configuration."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Unpack

from servefit.backends.quality.limits import held_against_nothing
from servefit.errors import SpecError
from servefit.field_types import check_type
from servefit.keywords import part_of, with_keywords
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.defaults import DURATION_S, SEARCH_S
from servefit.profiler.drivers.start_driver import assemble
from servefit.profiler.evidence.cautions import cautions_of
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.plateaus import UserStep, steps_of
from servefit.profiler.evidence.several_runs import summarize_runs
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.procedures.decided_runs import (
    Decision,
    check_search_time,
    find_highest_rate,
    nearest_run,
    run_decided,
    run_valid,
)
from servefit.profiler.procedures.open_loops import open_loop, remarks_on
from servefit.profiler.procedures.prepare import (
    REQUEST_DEFAULTS,
    Deployment,
    DeploymentFields,
    Examined,
    Prepared,
    Requests,
    check_there,
    examine,
    model_name,
)
from servefit.profiler.procedures.script_comparison import script_cost
from servefit.profiler.procedures.traffic_rules import (
    TRAFFIC_DEFAULTS,
    TrafficOptions,
    given_traffic,
    limits_without_rate,
    rate_where_none_is_asked,
)
from servefit.profiler.record.script_cost import ScriptCost, answered
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, Traffic
from servefit.quantities import count_text
from servefit.showing import shown
from servefit.time_limit import budget_of, within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from servefit.backends.compilation import Compilation
    from servefit.backends.model import Model
    from servefit.backends.payload import UsedSizes
    from servefit.profiler.drivers.driver import Driver
    from servefit.profiler.evidence.limits import Verdict
    from servefit.profiler.evidence.problem import Problem
    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.procedures.tried_rates import HighestRate
    from servefit.profiler.record.types import DriverName, Measurement, Run


@shown("profile", "verdict", "reason", "summary", "highest", "problems")
@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """The result of ``profile``: the measurement, its figures, and what to bear in mind when reading them.

    ``run`` is the one of the measurement's that ``summary`` is of: the only one, or that at the highest rate, or the
    one nearest to where it must be. ``steps`` are the plateaus of a closed loop that has several. ``decision`` is there
    when thresholds were held against a rate, ``highest`` when the highest rate was looked for. ``problems`` are what
    the machine did to the measurement. ``verdict`` is INVALID where it is not to be believed for them, unless noise was
    allowed, and None where nothing was asked; ``reason`` says why. ``script_cost`` is there where the model is a script
    with a model file beside it.
    """

    model: Model
    compilation: Compilation
    payload_source: str
    payload_sizes: tuple[UsedSizes, ...]
    profile: InstanceProfile
    host: Host
    measurement: Measurement
    run: Run
    summary: Summary
    steps: tuple[UserStep, ...]
    decision: Decision | None
    highest: HighestRate | None
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    verdict: Verdict | None = None
    reason: str | None = None
    script_cost: ScriptCost | None = None


class ProfileOptions(DeploymentFields, TrafficOptions, Requests, total=False):
    """The keywords of :func:`profile` that other functions and classes have too."""


_DEFAULTS = {
    **{field.name: field.default for field in fields(Deployment) if field.default is not MISSING},
    "precision": None,
    **TRAFFIC_DEFAULTS,
    **REQUEST_DEFAULTS,
}


@with_keywords(ProfileOptions, _DEFAULTS)
def profile(
    model: Any,
    deployment: Deployment | None = None,
    *,
    allow_noise: bool = False,
    driver: DriverName = "inprocess",
    wait_s: float | None = None,
    budget_s: float | None = None,
    on_prepared: Callable[[], None] | None = None,
    **options: Unpack[ProfileOptions],
) -> Profiled:
    """Measure one configuration of a model.

    With a rate, thresholds are decided as soon as they can be. With thresholds and neither a rate nor users, the
    highest rate at which they hold is looked for. A run that the machine disturbed is repeated, twice at
    most.

    Args:
        model: A Model, or anything that ``Model.load`` takes.
        deployment: The configuration, in place of ``backend`` to ``batch_delay_us``, ``allow_batch_dependence``,
            ``environment``, ``secret_env``, ``options``, ``target`` and ``precision``.
        payload: A path, or an array of shape (rows, features). None: rows are drawn from the model.
        backend: The name of a backend; None: the model's own library.
        profile: The name of an instance profile; None: the largest that this host can be.
        threads: Threads of each worker.
        workers: Worker processes.
        batch: Most requests joined into a call.
        batch_delay_us: How long the first of a batch waits for others, in microseconds.
        allow_batch_dependence: Join requests even where that changes their predictions.
        rate: Requests a second in an open loop. None: the rate of ``arrivals`` that have their own, such as
            "replay:FILE", or a closed loop.
        arrivals: The shape in which requests arrive at the rate: "poisson", "constant", "sine:period=2s" and others.
        users: Users who take turns in a closed loop; None: workers x batch.
        traffic: A closed loop with phases.
        thresholds: Limits on percentiles of the response time.
        duration_s: Most seconds of the run (None: 5, or a cycle of the arrivals), or of the search for the highest rate
            (None: 30).
        rows_per_request: Rows of the payload in one request.
        environment: Environment variables of the workers.
        secret_env: Variables whose values are shown to nobody.
        options: Knobs of the backend.
        target: The kind of processor: "cpu" or "cuda".
        precision: What is allowed of a backend that predicts less exactly; None: nothing.
        seed: Seed of traffic and drawn rows.
        trust_pickle: Unpickle ``model``, which runs code.
        trust_code: Run the script of ``model`` (code/inference.py).
        allow_noise: Judge a run that the machine disturbed, and do not repeat it.
        driver: "inprocess", or "http" for a real endpoint under load clients on CPUs that the profile leaves.
        wait_s: How long to wait while something else measures on this machine; None: until that is done.
        budget_s: Most seconds for all of it, less what it waits for others; None: as long as a compilation may take,
            and what ``duration_s`` says.
        on_prepared: Called when the model is compiled, and all that is left to do is to measure it; None: nobody.

    Returns:
        The measurement with its figures, and the verdict where there are ``thresholds``.

    Raises:
        SpecError: What is asked makes no sense.
        ModelError: The model or the payload cannot be read.
        BackendError: The backend does not run here, or does not take the model.
        MeasurementError: A worker died, TimedOut with what hung, or SlotTaken after ``wait_s``.

    Example:
        ::

            measured = sf.profile("model.ubj", payload="payload.csv", rate=100.0, duration_s=1)
            print(measured.summary.latency_ms["p95"])
    """
    from servefit.backends.payload.reading import check_seed

    described = Deployment(
        **{
            **part_of(options, DeploymentFields),
            "environment": options["environment"] or {},
            "options": options["options"] or {},
            "precision": options["precision"] or Deployment().precision,
        }
    )
    if deployment is None:
        deployment = described
    elif described != Deployment():
        raise SpecError("deployment", None, "cannot be combined with its own fields", remedy="give either")
    seed, duration_s = options["seed"], options["duration_s"]
    check_seed(seed)
    check_type("thresholds", options["thresholds"], Collection[LatencyThreshold])
    thresholds = tuple(options["thresholds"])
    requested = _TrafficRequest(**{**part_of(options, TrafficOptions), "thresholds": thresholds})
    # What makes no sense is refused before anything is compiled; how many users are usual is known later.
    requested.loop(1, seed)
    check_there(model, options["payload"])
    budget = budget_of(budget_s)
    decision, highest = None, None

    @cache
    def examined() -> Examined:
        return examine(model, deployment, driver=driver, **part_of(options, Requests))

    # Compiling takes all CPUs: it would spoil what others measure.
    with (
        measuring_slot(f"profile of {model_name(model)}", wait_s=wait_s, before_waiting=examined),
        within(budget),
    ):
        prepared = examined().compiled()
        cost = script_cost(
            prepared.model,
            prepared.payload,
            prepared.compilation.artifact,
            host=prepared.host,
            memory_bytes=prepared.profile.memory_bytes,
            trust_pickle=options["trust_pickle"],
        )
        if on_prepared is not None:
            on_prepared()
        with prepared.driver(driver) as started:
            loop = requested.loop(started.usual_users, seed)
            if loop is None:
                highest, runs, problems = find_highest_rate(
                    started,
                    requested.thresholds,
                    budget_s=duration_s or SEARCH_S,
                    seed=seed,
                    allow_noise=allow_noise,
                    arrivals=requested.arrivals,
                )
            elif isinstance(loop, OpenLoop):
                decision = run_decided(started, loop, requested.thresholds, allow_noise=allow_noise)
                runs, problems = (decision.run,), decision.problems
            else:
                runs, problems = _closed(started, loop, allow_noise=allow_noise)
            measurement = assemble(started, runs, prepared.host)
    run = runs[-1] if highest is None else nearest_run(runs, highest)
    percentiles = [threshold.percentile for threshold in requested.thresholds]
    summary = summarize_runs(
        [run],
        configuration=prepared.configuration,
        memory_bytes=prepared.profile.memory_bytes,
        percentiles=percentiles,
    )
    verdict, reason = _verdict(decision if requested.thresholds else None, highest, () if allow_noise else problems)
    return Profiled(
        model=prepared.model,
        compilation=prepared.compilation,
        payload_source=prepared.payload.source,
        payload_sizes=prepared.payload.sizes,
        profile=prepared.profile,
        host=prepared.host,
        measurement=measurement,
        run=run,
        summary=summary,
        steps=steps_of(run, percentiles=percentiles),
        decision=decision if requested.thresholds else None,
        highest=highest,
        problems=problems,
        warnings=(
            *answered(prepared.model.warnings, cost),
            *prepared.payload.warnings,
            *_unheld(deployment, prepared),
            *(f"{problem.reason}; {problem.remedy}" for problem in problems),
            *cautions(measurement, summary),
            *remarks_on(run.traffic),
        ),
        verdict=verdict,
        reason=reason,
        script_cost=cost,
    )


def _unheld(deployment: Deployment, prepared: Prepared) -> tuple[str, ...]:
    if deployment.precision.allows_nothing or prepared.compilation.quality is not None:
        return ()
    return (held_against_nothing(deployment.precision, prepared.configuration.backend),)


def _verdict(
    decision: Decision | None, highest: HighestRate | None, spoiling: Sequence[Problem]
) -> tuple[Verdict | None, str | None]:
    """Return the verdict with its reason: INVALID for a measurement with ``spoiling`` problems, whatever was asked of
    it."""
    if spoiling:
        return "INVALID", "; ".join(problem.reason for problem in spoiling)
    if decision is not None:
        return decision.verdict, decision.reason
    if highest is None:
        return None, None
    return highest.verdict, None if highest.verdict == "PASS" else highest.ended


def _closed(driver: Driver, loop: ClosedLoop, *, allow_noise: bool) -> tuple[tuple[Run, ...], tuple[Problem, ...]]:
    run, problems = run_valid(driver, loop, allow_noise=allow_noise)
    return (run,), problems


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrafficRequest:
    """The traffic that is asked for, or the search for the highest rate."""

    rate: float | None
    arrivals: str
    users: int | None
    traffic: ClosedLoop | None
    thresholds: tuple[LatencyThreshold, ...]
    duration_s: float | None

    def loop(self, usual_users: int, seed: int) -> Traffic | None:
        """Return the traffic of the run; None if the highest rate is searched for. Raises SpecError."""
        kind = given_traffic(rate=self.rate, users=self.users, phases=self.traffic, duration_s=self.duration_s)
        searches = bool(self.thresholds) and kind is None
        if self.thresholds and kind in ("users", "phases"):
            raise limits_without_rate(self.thresholds)
        if searches and self.duration_s is not None:
            check_search_time(self.duration_s)
        duration_s = DURATION_S if self.duration_s is None else self.duration_s
        rate, shape = self.rate, arrivals_named(self.arrivals)
        if rate is None:
            rate = rate_where_none_is_asked(
                shape, closed=kind is not None, limited=searches, search_s=self.duration_s or SEARCH_S
            )
        if rate is not None:
            return open_loop(
                self.arrivals, rate_per_s=rate, duration_s=duration_s, usual=self.duration_s is None, seed=seed
            )
        if self.traffic is not None:
            return self.traffic
        if searches:
            return None
        return ClosedLoop.constant(users=usual_users if self.users is None else self.users, duration_s=duration_s)


def cautions(measurement: Measurement, summary: Summary) -> tuple[str, ...]:
    """Return the warnings to the reader of the figures of ``measurement``."""
    configuration = measurement.configuration
    wanted = configuration.workers * configuration.settings.threads
    lines = []
    if wanted > configuration.vcpus:
        lines.append(
            f"{configuration.workers} workers x {configuration.settings.threads} threads share "
            f"{count_text(configuration.vcpus, 'vCPU')}: expect long tails"
        )
    if measurement.containment == "uncontained":
        lines.append(
            "uncontained: CPU affinity alone does not hold every library to its CPUs, and memory is not limited; "
            "servefit host says what is missing"
        )
    if outside := max(run.threads_outside for run in measurement.runs):
        lines.append(f"{outside} threads were allowed on CPUs outside the envelope")
    return (*lines, *cautions_of(summary))
