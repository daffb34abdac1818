"""The contents of the report of a job on a fleet: its plan, what other rates would cost, and what each class found.

``contents`` has the report of a job on one host, which is also that of a class of hosts.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.annexes.fleet.report_plots import cost_plot
from servefit.annexes.fleet.report_tables import (
    asks_for_plan,
    class_sentences,
    classes_table,
    cost_text,
    hosts_table,
    left_out_sentences,
    plan_headline,
    plan_sentences,
    plan_table,
)
from servefit.quantities import count_text, given_text, number_text
from servefit.report.cards import Card, known_facts, model_card
from servefit.report.contents import Report, Section
from servefit.report.job_tables import recommendations_table
from servefit.search.fleet.answer import goal_of, offers_of, plan_of
from servefit.search.fleet.document import fleet_document
from servefit.search.fleet.plan.fleet_plan import FleetPlan, NotCarried
from servefit.search.fleet.plan.rate_costs import rate_costs
from servefit.search.storage.header import PlanRequest

if TYPE_CHECKING:
    from servefit.report.cards import KeyFigure
    from servefit.report.plot import Plot
    from servefit.search.fleet.fleet_job import ClassJob, FleetJob
    from servefit.search.fleet.plan.offer import HostOffer
    from servefit.search.storage.header import PlanGoal

_GOALS: dict[PlanGoal, str] = {"cost": "what hosts cost an hour", "watts": "watts", "hosts": "the number of hosts"}


def fleet_report_of(job: FleetJob) -> Report:
    """Return the report of a job on a fleet, finished or not."""
    plan, least = plan_of(job), goal_of(job.header.plan or PlanRequest(), job.header.hosts)
    offers = () if plan is None else offers_of(job, least)
    return Report(
        job=job.name,
        verdict=None if plan is None else "PASS" if isinstance(plan, FleetPlan) else "FAIL",
        answer=no_plan(job) if plan is None else plan_headline(plan, least),
        key_figures=() if plan is None else tuple(_key_figures(plan, least)),
        glance=Section(name="glance", title="Why", plots=() if plan is None else _plots(offers, plan, least)),
        cards=tuple(_cards(job, least)),
        command=shlex.join(["servefit", "export", job.name, "--balancer", plan.balancer, "-o", "balancer"])
        if isinstance(plan, FleetPlan)
        else None,
        reasons=(
            *(plan_sentences(plan, least) if isinstance(plan, FleetPlan) else ()),
            *(left_out_sentences(job, plan) if asks_for_plan(job) else ()),
        ),
        warnings=(*(plan.warnings if isinstance(plan, FleetPlan) else ()), *job.warnings),
        sections=tuple(_sections(job, offers, plan, least)),
        timelines=(),
        shown_step=None,
        limits_ms=(),
        document=fleet_document(job, plan, least),
    )


def no_plan(job: FleetJob) -> str:
    """Return why there is no plan."""
    if not job.classes:
        return "The hosts have not been timed yet."
    if not asks_for_plan(job):
        return "No rate was asked for, so there is no plan of hosts: what each class of them was found to do is below."
    return "There is no plan: of no class of hosts was it confirmed that it holds the SLA."


def _plots(offers: Sequence[HostOffer], plan: FleetPlan | NotCarried, least: PlanGoal) -> tuple[Plot, ...]:
    if not offers:
        return ()
    plot = cost_plot(rate_costs(offers, plan), plan, least)
    return (plot,) if plot.has_points else ()


def _key_figures(plan: FleetPlan | NotCarried, least: PlanGoal) -> Iterator[KeyFigure]:
    spare = f"after the loss of any {plan.spare}" if plan.spare else ""
    yield "rate asked", f"{given_text(plan.rate_per_s)}/s", spare
    if isinstance(plan, NotCarried):
        yield "rate carried", f"{number_text(plan.carries_per_s)}/s", f"by {count_text(plan.hosts, 'host')}"
        return
    yield "hosts", f"{plan.fleet.hosts:,}", f"of {plan.all_hosts.hosts:,} that were confirmed"
    if least != "hosts":
        yield "cost", cost_text(plan.fleet, least), ""
    yield "confirmed", f"{number_text(plan.fleet.confirmed_rate_per_s)}/s", "by these hosts together"
    if plan.best_of_one_class is not None:
        (row,) = plan.best_of_one_class.rows
        yield "best of one class", cost_text(plan.best_of_one_class, least), f"{row.hosts} x {row.offer.host_class}"
    if least != "hosts":
        yield "all hosts", cost_text(plan.all_hosts, least), "that were confirmed"


def _cards(job: FleetJob, least: PlanGoal) -> Iterator[Card]:
    wanted, request = job.header.plan, job.header.request
    yield model_card(job.header)
    facts = [
        ("SLA", ", ".join(map(str, request.sla.thresholds)) or None),
        ("least is", None if wanted is None else _GOALS[least]),
        ("spare", None if wanted is None else count_text(wanted.spare, "host")),
        ("at most", None if wanted is None or wanted.most_hosts is None else count_text(wanted.most_hosts, "host")),
        (
            "hosts",
            f"{len(job.header.hosts):,}, in {len(job.classes):,} {'class' if len(job.classes) == 1 else 'classes'}",
        ),
    ]
    yield Card(title="The fleet", facts=known_facts(facts))


def _sections(
    job: FleetJob, offers: Sequence[HostOffer], plan: FleetPlan | NotCarried | None, least: PlanGoal
) -> Iterator[Section]:
    if isinstance(plan, FleetPlan):
        yield Section(name="plan", title="The plan", tables=(plan_table(plan, least),))
    if job.classes:
        yield Section(name="classes", title="Classes of hosts", tables=(classes_table(job, offers, plan),))
    for nth, class_job in enumerate(job.classes, start=1):
        yield _class_section(job, class_job, nth)
    yield Section(name="hosts", title="Hosts", tables=(hosts_table(job),))


def _class_section(job: FleetJob, class_job: ClassJob, nth: int) -> Section:
    """Return what was found on a class, the ``nth``, and how the rest of it is read. What the job as a whole warns of
    is not said again."""
    others = len(class_job.hosts) - 1
    like = f", and {others:,} more like it" if others else ""
    recommendations, said_of_job = recommendations_table(class_job.job), frozenset(job.warnings)
    command = shlex.join(
        ["servefit", "report", job.name, "--host", class_job.representative, "-o", f"{class_job.representative}.html"]
    )
    return Section(
        name=f"class-{nth}",
        title=f"On {class_job.representative}{like}",
        text=(
            *class_sentences(job, class_job),
            *(f"Warning: {warning}" for warning in class_job.job.warnings if warning not in said_of_job),
            f"All that was found there: {command}",
        ),
        # Tables are told apart by their names, and two classes may have much the same.
        tables=(replace(recommendations, title=f"Class {nth}: {recommendations.title}"),)
        if recommendations.rows
        else (),
        listed=False,
    )
