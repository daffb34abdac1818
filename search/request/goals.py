"""The names of what a job may be about: servefit's own objectives, and those of other packages.

Only names are known here. What an objective is, and how it is found by its name, is in
:mod:`servefit.search.results.objectives`.
"""

from __future__ import annotations

from servefit.plug_ins import PlugIns

ENTRY_POINT_GROUP = "servefit.objectives"

_OBJECTIVES = "servefit.search.results.objectives"

OBJECTIVES = PlugIns(
    field="goal",
    group=ENTRY_POINT_GROUP,
    built_in={
        "cost": f"{_OBJECTIVES}.cost:Cost",
        "latency": f"{_OBJECTIVES}.latency:Latency",
        "throughput": f"{_OBJECTIVES}.throughput:Throughput",
        "balanced": f"{_OBJECTIVES}.balanced:Balanced",
        "energy": f"{_OBJECTIVES}.energy:Energy",
    },
)


def parse_goal(text: str) -> str:
    """Return ``text`` if it names an objective. Nothing is imported for that.

    Raises:
        SpecError: no package offers an objective of that name, or several do.
    """
    if text not in OBJECTIVES.built_in:
        OBJECTIVES.entry_point(text)
    return text
