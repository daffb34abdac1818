"""``servefit scale``: how many instances a rate takes, and the policy that adds and removes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from servefit.cli.completion import job_names
from servefit.cli.options import StorageOption
from servefit.cli.output import FormatOption, OutputFormat, WideOption, emit, print_line, print_text, warn
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import OUTPUT, TRAFFIC
from servefit.quantities import currency_sign, given_text, ms_text, number_text, percent_text, rate_text
from servefit.report.sentences import hourly_text, takes_text
from servefit.report.table import Table

if TYPE_CHECKING:
    from servefit.search.autoscaling.plan import ScalingPlan


def scale(
    job: Annotated[
        str,
        typer.Argument(metavar="JOB[/ID]", autocompletion=job_names, help="A job, and one of its recommendations."),
    ],
    rate: Annotated[str, option("Rate to plan for: 500/s or 30000/min.", TRAFFIC, "500/s")],
    headroom: Annotated[str, option("Part of the highest rate of an instance to keep free.", TRAFFIC, "20%")] = "20%",
    min_rate: Annotated[
        str | None, option("Lowest rate expected. Default: one instance at least.", TRAFFIC, "50/s")
    ] = None,
    max_rate: Annotated[str | None, option("Highest rate expected. Default: twice --rate.", TRAFFIC, "2000/s")] = None,
    policy: Annotated[
        str | None,
        option(
            "Print the policy as a manifest instead: a HorizontalPodAutoscaler, or a ScaledObject of KEDA.",
            OUTPUT,
            "hpa|keda",
        ),
    ] = None,
    deployment_name: Annotated[
        str | None,
        option("With --policy: the name that was given to servefit export.", OUTPUT, "NAME", "--name"),
    ] = None,
    storage: StorageOption = None,
    form: FormatOption = OutputFormat.TABLE,
    wide: WideOption = False,
) -> None:
    """Say how many instances a rate takes within the SLA of JOB, and give a target-tracking scaling policy.

    Example: servefit scale fraud --rate 2000/s --headroom 30% --max-rate 6000/s
    """
    from servefit.quantities import parse_rate_per_s, parse_share
    from servefit.search.autoscaling.manifests import manifest, parse_kind
    from servefit.search.autoscaling.scale import scale as plan_for
    from servefit.search.jobs.lifecycle import load_job

    if deployment_name is not None and policy is None:
        raise SpecError("name", deployment_name, "is only for a policy", remedy="give --policy hpa or --policy keda")
    rate_per_s, kept_free = parse_rate_per_s(rate), parse_share("headroom", headroom)
    min_rate_per_s = None if min_rate is None else parse_rate_per_s(min_rate, field="min_rate")
    max_rate_per_s = None if max_rate is None else parse_rate_per_s(max_rate, field="max_rate")
    name, slash, chosen = job.partition("/")
    plan = plan_for(
        load_job(name, storage=storage),
        rate_per_s=rate_per_s,
        recommendation_id=chosen if slash else None,
        headroom=kept_free,
        min_rate_per_s=min_rate_per_s,
        max_rate_per_s=max_rate_per_s,
    )
    if policy is None:
        _print_plan(plan, form, wide=wide)
        return
    print_text(manifest(plan, parse_kind(policy), name=deployment_name))
    for note in plan.notes:
        warn(note)


def _print_plan(plan: ScalingPlan, form: OutputFormat, *, wide: bool) -> None:
    if form is OutputFormat.TABLE:
        print_line("", headline(plan), "")
        emit(policy_table(plan), {}, form)
        emit(curve_table(plan), {}, form, brief=None if wide else _brief_curve(plan))
        for note in plan.notes:
            print_line(f"Note: {note}.")
    else:
        emit(policy_table(plan), plan.to_dict(), form)
        for note in plan.notes:
            warn(note)


def headline(plan: ScalingPlan) -> str:
    """Return the answer in a sentence."""
    chosen, cost = plan.recommendation, plan.cost_per_hour(plan.instances)
    paid = None if cost is None else hourly_text(cost, chosen.profile)
    takes = takes_text(chosen, plan.instances) if chosen.profile.is_local or paid is None else None
    costs = ", ".join(filter(None, (takes, paid)))
    within = f" within {limits}" if (limits := ", ".join(map(str, plan.sla.thresholds))) else ""
    return (
        f"{given_text(plan.rate_per_s)} requests/s{within}: {plan.instances} x {chosen.profile.name}, {costs}; each at "
        f"{number_text(plan.target.invocations_per_minute)} invocations a minute or less."
    )


def policy_table(plan: ScalingPlan) -> Table:
    from servefit.search.results.instances import PLANNED_UTILISATION

    basis = {
        "measured": "measured at this rate",
        "simulated": "estimated: where the simulation reaches a limit",
        "utilisation": f"estimated: {percent_text(PLANNED_UTILISATION)} of the capacity",
    }[plan.rate.basis]
    target, chosen = plan.target, plan.recommendation
    profile = chosen.profile.name
    lowest = "one always serves" if plan.min_rate_per_s is None else f"for {given_text(plan.min_rate_per_s)} requests/s"
    rows: list[list[Any]] = [
        ["capacity of an instance per s", plan.rate.capacity_per_s, _capacity_basis(plan)],
        ["highest rate of an instance per s", plan.rate.highest_per_s, basis],
        ["target per instance per s", target.rate_per_s, f"{percent_text(plan.headroom)} below the highest rate"],
        ["target per instance per minute", target.invocations_per_minute, "the same: SageMaker's TargetValue"],
        ["instances", plan.instances, f"for {given_text(plan.rate_per_s)} requests/s"],
        ["min capacity", target.min_capacity, lowest],
        ["max capacity", target.max_capacity, f"for {given_text(plan.max_rate_per_s)} requests/s"],
        ["scale-in cooldown s", target.scale_in_cooldown_s, "default of Application Auto Scaling"],
        ["scale-out cooldown s", target.scale_out_cooldown_s, "a minute of the metric, and loading, measured"],
    ]
    for name, instances in (("rate", plan.instances), ("min", target.min_capacity), ("max", target.max_capacity)):
        cost, unit = plan.cost_per_hour(instances), f"{currency_sign(chosen.profile.currency)}/hour"
        if cost is None:
            cost, unit = instances * chosen.profile.vcpus, "vCPUs"
        takes = f", {takes_text(chosen, instances)}" if chosen.profile.is_local else ""
        rows.append([f"{unit} at {name}", cost, f"{instances} x {profile}{takes}"])
    return Table(title="Scaling policy", columns=("figure", "value", "where from"), rows=rows)


def _capacity_basis(plan: ScalingPlan) -> str:
    if plan.recommendation.capacity.basis == "predicted":
        return "predicted: no CPU was left to a client"
    return "measured in the closed loop"


def curve_table(plan: ScalingPlan) -> Table:
    names = list(dict.fromkeys(name for point in plan.curve for name in point.latency_ms))
    return Table(
        title="One instance",
        columns=("requests per s", *(f"{name} ms" for name in names), "samples", "loop", "from", "SLA"),
        rows=[
            [
                point.rate_per_s,
                *(point.latency_ms.get(name) for name in names),
                point.samples,
                point.loop,
                point.source,
                point.verdict,
            ]
            for point in plan.curve
        ],
    )


_BRIEF = ("p50", "p95", "p99")
"""Percentiles of the curve that people are shown, where no other has a limit."""


def _brief_curve(plan: ScalingPlan) -> Table:
    """Return the table of the curve with the columns that decide, each time in its own unit."""
    wanted = {*_BRIEF, *(threshold.percentile for threshold in plan.sla.thresholds)}
    names = [
        name for name in dict.fromkeys(name for point in plan.curve for name in point.latency_ms) if name in wanted
    ]
    return Table(
        title="One instance",
        columns=("rate", *names, "from", "SLA"),
        rows=[
            [
                rate_text(point.rate_per_s),
                *(None if (value := point.latency_ms.get(name)) is None else ms_text(value) for name in names),
                f"{point.source}, {point.loop} loop",
                point.verdict,
            ]
            for point in plan.curve
        ],
        numeric=("rate", *names),
    )
