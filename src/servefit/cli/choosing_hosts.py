"""The options with which a job says on which hosts of a fleet it measures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.errors import SpecError
from servefit.option_panels import MACHINE

if TYPE_CHECKING:
    from servefit.search.fleet.selection import Selection

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

PLAN_GOALS = ("watts", "hosts")
"""Goals of ``--goal`` that a plan has and a job on one host has not. By cost both are ranked."""


def selection(*, fleet: bool, hosts: Iterable[str], labels: Iterable[str]) -> Selection:
    """Return the choice that the options make. Raises SpecError where hosts are chosen and no ``fleet`` is asked for,
    and for what is no label."""
    from servefit.search.fleet.launching.agent_options import parse_labels
    from servefit.search.fleet.selection import Selection

    if not fleet:
        raise SpecError(
            "fleet",
            None,
            "is what --host, --label, --spare, --most-hosts and --every-class are about",
            remedy="add --fleet",
        )
    return Selection(patterns=tuple(hosts), labels=tuple(parse_labels("label", labels).items()))


def fleet_storage() -> str | None:
    """Return the database that the environment names, None where it names none."""
    return os.environ.get("SERVEFIT_STORAGE") or None
