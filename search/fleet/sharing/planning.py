"""The plan of several models that may share hosts: pairs are measured as far as they can change it.

A plan is made as if all pairs that fit held their SLAs. Those that it uses are measured, those that do not hold are
taken out, and it is made again, until it uses none that was not measured. It is then the cheapest of all: any other one
with unmeasured pairs would cost as much at best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.search.fleet.many_jobs import demands_of
from servefit.search.fleet.plan.many_models import ManyModelsPlan, plan_models
from servefit.search.fleet.sharing.fitting import fitting_pairs
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.search.fleet.fleet_job import FleetJob
    from servefit.search.fleet.plan.many_models import ModelsNotCarried
    from servefit.search.fleet.sharing.asking import MeasuredPair
    from servefit.search.fleet.sharing.fitting import FittingPair, PairLeftOut
    from servefit.search.storage.header import PlanRequest

Measure = Callable[[Sequence["FittingPair"]], Sequence["MeasuredPair"]]
"""Has pairs put under load, and gives what came of each, in their order."""


@shown("plan", "measured")
@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPlan:
    """A plan in which hosts may serve two models at once: pairs that were ``measured``, and held their SLAs. Those that
    are ``left_out`` do not fit side by side. So many others are ``unmeasured``: they fit, and the plan gains nothing by
    them even if they held."""

    plan: ManyModelsPlan | ModelsNotCarried
    measured: tuple[MeasuredPair, ...]
    left_out: tuple[PairLeftOut, ...]
    unmeasured: int


def plan_sharing_jobs(
    jobs: Mapping[str, FleetJob], wanted: PlanRequest, measure: Measure, *, balancer: str = "nginx"
) -> SharedPlan:
    """Plan the hosts of a fleet for several models, some of which may share hosts.

    Where the rates are not carried even if all pairs that fit held their SLAs, nothing is measured. Raises SpecError as
    ``many_jobs.plan_jobs`` and ``fitting_pairs`` do, and whatever ``measure`` raises.
    """
    demands, alike = demands_of(jobs, wanted)
    fitting, left_out = fitting_pairs(jobs, alike)
    measured: dict[int, MeasuredPair] = {}
    while True:
        usable = [nth for nth in range(len(fitting)) if nth not in measured or measured[nth].holds]
        shared = [fitting[nth].offer for nth in usable]
        plan = plan_models(demands, shared=shared, spare=wanted.spare, balancer=balancer)
        if not isinstance(plan, ManyModelsPlan):
            break
        used = {(sharing_hosts.host_class, sharing_hosts.models) for sharing_hosts in plan.shared}
        missing = [
            nth
            for nth in usable
            if nth not in measured and (fitting[nth].offer.host_class, fitting[nth].models) in used
        ]
        if not missing:
            break
        measured.update(zip(missing, measure([fitting[nth] for nth in missing]), strict=True))
    if not isinstance(plan, ManyModelsPlan) and len(usable) > sum(pair.holds for pair in measured.values()):
        # The part that is carried must not rest on what was not measured.
        holding = [fitting[nth].offer for nth, pair in measured.items() if pair.holds]
        plan = plan_models(demands, shared=holding, spare=wanted.spare, balancer=balancer)
    return SharedPlan(
        plan=plan,
        measured=tuple(measured[nth] for nth in sorted(measured)),
        left_out=left_out,
        unmeasured=len(fitting) - len(measured),
    )
