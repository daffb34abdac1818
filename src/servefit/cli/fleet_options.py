"""The options about a fleet: on which of its hosts a job measures, and from which an endpoint is loaded. What they ask
for is in the annex ``fleet``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from servefit.errors import SpecError
from servefit.option_panels import MACHINE

FleetOption = Annotated[
    bool,
    typer.Option("--fleet", help="Measure on the hosts of the fleet in --storage.", rich_help_panel=MACHINE),
]
HostsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        metavar="PATTERN",
        help="With --fleet: only hosts of that name, which may have a *; repeat it.",
        rich_help_panel=MACHINE,
    ),
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="KEY=VALUE",
        help="With --fleet: only hosts with that label; repeat it.",
        rich_help_panel=MACHINE,
    ),
]
SpareOption = Annotated[
    int,
    typer.Option("--spare", metavar="N", min=0, help="With --fleet: any N hosts may be lost.", rich_help_panel=MACHINE),
]
MostHostsOption = Annotated[
    int | None,
    typer.Option(
        "--most-hosts", metavar="N", min=1, help="With --fleet: no more hosts serve.", rich_help_panel=MACHINE
    ),
]
EveryClassOption = Annotated[
    bool,
    typer.Option(
        "--every-class",
        help="With --fleet: test and confirm hosts that the plan does without, too, for servefit fleet plan.",
        rich_help_panel=MACHINE,
    ),
]
FromOption = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="PATTERN",
        help="Send --rate from the hosts of a fleet of that name, which may have a *, each an equal part; repeat it.",
        rich_help_panel=MACHINE,
    ),
]
FromLabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="KEY=VALUE",
        help="With --from, or instead of it: from hosts with that label; repeat it.",
        rich_help_panel=MACHINE,
    ),
]
LoadStorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="With --from: database of the fleet. Default: what SERVEFIT_STORAGE says.",
        rich_help_panel=MACHINE,
    ),
]

PLAN_GOALS = ("watts", "hosts")
"""Goals of ``--goal`` that a plan has and a job on one host has not. By cost both are ranked."""


def is_on_fleet(*, fleet: bool, chosen: Iterable[object]) -> bool:
    """Return whether a job measures on a fleet. Raises SpecError where something is ``chosen`` of a fleet, and no
    ``fleet`` is asked for."""
    if not fleet and any(chosen):
        raise SpecError(
            "fleet",
            None,
            "is what --host, --label, --spare, --most-hosts and --every-class are about",
            remedy="add --fleet",
        )
    return fleet


def check_one_client(storage: str | None) -> None:
    """Raise SpecError for what is only for several clients."""
    if storage is not None:
        raise SpecError("storage", None, "is that of a fleet, of which nothing is used", remedy="add --from")
