"""Models that share hosts, as ``servefit fleet plan --share`` measures and prints them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from servefit.cli.output import OutputFormat, emit, print_line, warn
from servefit.quantities import number_text
from servefit.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.search.fleet.fleet_job import FleetJob
    from servefit.search.fleet.pair_orders import Change, SideLoaded
    from servefit.search.fleet.sharing.asking import MeasuredPair
    from servefit.search.fleet.sharing.planning import SharedPlan
    from servefit.search.optimizer.progress import Progress
    from servefit.search.storage.header import PlanRequest
    from servefit.search.storage.jobs import JobStore


def plan_sharing(
    jobs: Mapping[str, FleetJob],
    wanted: PlanRequest,
    *,
    store: JobStore,
    storage: str | None,
    again: bool,
    progress: Progress,
) -> SharedPlan:
    """Plan models that may share hosts, and have the agents of the fleet at ``storage`` measure those that matter."""
    from servefit.search.fleet.database import fleet_address, fleet_leases
    from servefit.search.fleet.dispatcher import Dispatcher
    from servefit.search.fleet.sharing.asking import PairsAsked
    from servefit.search.fleet.sharing.planning import plan_sharing_jobs

    address = fleet_address(storage)
    dispatcher = Dispatcher(store.database, address, fleet_leases(store.database, address))
    with dispatcher.running():
        asked = PairsAsked(store=store, dispatcher=dispatcher, jobs=jobs, progress=progress, again=again)
        try:
            return plan_sharing_jobs(jobs, wanted, asked.measure)
        finally:
            asked.clean_up()


def sharing_document(shared: SharedPlan) -> dict[str, Any]:
    """Return what was measured of pairs, in JSON's types."""
    return {
        "pairs": [{**asdict(pair), "holds": pair.holds, "reason": pair.reason} for pair in shared.measured],
        "pairs_left_out": [asdict(pair) for pair in shared.left_out],
        "pairs_unmeasured": shared.unmeasured,
    }


def print_sharing(shared: SharedPlan) -> None:
    """Print, for people, which hosts are shared, and what was measured of pairs."""
    from servefit.search.fleet.plan.many_models import ManyModelsPlan

    for row in shared.plan.shared if isinstance(shared.plan, ManyModelsPlan) else ():
        rates = " and ".join(
            f"{model} (up to {number_text(rate)}/s)" for model, rate in zip(row.models, row.rates_per_s, strict=True)
        )
        print_line(f"{row.hosts} x {row.host_class}: serves {rates} at the same time.")
    if shared.measured:
        emit(_pairs_table(shared.measured), {}, OutputFormat.TABLE)
    for pair in shared.measured:
        if pair.reason is not None:
            warn(f"{' and '.join(pair.models)} do not share {pair.host_class}: {pair.reason}")
    for left in shared.left_out:
        print_line(f"{' and '.join(left.models)} do not share {left.host_class}: {left.reason}.")
    if shared.unmeasured:
        print_line(f"Not measured, as the plan gains nothing by it: {shared.unmeasured} pairs.")


def _pairs_table(measured: tuple[MeasuredPair, ...]) -> Table:
    rows = []
    for pair in measured:
        if pair.found is None:
            continue
        for model, other, side in zip(pair.models, reversed(pair.models), pair.found.sides, strict=True):
            rows.append([model, other, pair.host_class, pair.host, *_figures(side), side.beside.verdict])
    columns = (
        "model", "beside", "host class", "measured on", "rate/s", "limit on", "alone ms", "beside ms",
        "interference %", "of the model alone %", "SLA beside",
    )  # fmt: skip
    return Table(title="Models side by side", columns=columns, rows=rows)


def _figures(side: SideLoaded) -> list[Any]:
    return [
        side.rate_per_s,
        side.percentile,
        side.alone.summary.latency_ms.get(side.percentile),
        side.beside.summary.latency_ms.get(side.percentile),
        _percent(side.latency),
        _percent(side.service),
    ]


def _percent(change: Change | None) -> str | None:
    """Return a change with its interval, as in "+4.1 (1.0 to 7.3)"."""
    if change is None:
        return None
    return f"{100 * change.part:+.1f} ({100 * change.low:.1f} to {100 * change.high:.1f})"
