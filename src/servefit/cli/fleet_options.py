"""The options about a fleet: on which of its hosts a job measures, and from which an endpoint is loaded. What they ask
for is in the annex ``fleet``."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Annotated

from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import MACHINE

FleetOption = Annotated[
    bool,
    option("Measure on the hosts of the fleet in --storage.", MACHINE, None, "--fleet"),
]
HostsOption = Annotated[
    list[str] | None,
    option("With --fleet: only hosts of that name, which may have a *; repeat it.", MACHINE, "PATTERN", "--host"),
]
LabelsOption = Annotated[
    list[str] | None,
    option("With --fleet: only hosts with that label; repeat it.", MACHINE, "KEY=VALUE", "--label"),
]
SpareOption = Annotated[
    int,
    option("With --fleet: any N hosts may be lost.", MACHINE, "N", "--spare", least=0),
]
MostHostsOption = Annotated[
    int | None,
    option("With --fleet: no more hosts serve.", MACHINE, "N", "--most-hosts", least=1),
]
EveryClassOption = Annotated[
    bool,
    option(
        "With --fleet: test and confirm hosts that the plan does without, too, for servefit fleet plan.",
        MACHINE,
        None,
        "--every-class",
    ),
]
FromOption = Annotated[
    list[str] | None,
    option(
        "Send --rate from the hosts of a fleet of that name, which may have a *, each an equal part; repeat it.",
        MACHINE,
        "PATTERN",
        "--from",
    ),
]
FromLabelsOption = Annotated[
    list[str] | None,
    option("With --from, or instead of it: from hosts with that label; repeat it.", MACHINE, "KEY=VALUE", "--label"),
]
LoadStorageOption = Annotated[
    str | None,
    option("With --from: database of the fleet. Default: what SERVEFIT_STORAGE says.", MACHINE, "URL", "--storage"),
]

PLAN_GOALS = ("watts", "hosts")
"""Goals of ``--goal`` that a plan has and a job on one host has not. By cost both are ranked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFleetOptions:
    """The hosts of a fleet that measure in place of this one, and what is planned of them."""

    fleet: FleetOption = False
    host: HostsOption = None
    label: LabelsOption = None
    spare: SpareOption = 0
    most_hosts: MostHostsOption = None
    every_class: EveryClassOption = False

    def asked_for(self) -> bool:
        """Return whether a job measures on a fleet. Raises SpecError where others are given without ``--fleet``."""
        if not self.fleet and any(astuple(self)):
            raise SpecError(
                "fleet",
                None,
                "is what --host, --label, --spare, --most-hosts and --every-class are about",
                remedy="add --fleet",
            )
        return self.fleet


def check_one_client(storage: str | None) -> None:
    """Raise SpecError for what is only for several clients."""
    if storage is not None:
        raise SpecError("storage", None, "is that of a fleet, of which nothing is used", remedy="add --from")
