"""The names of host classes: short, and the same as long as the hosts of a class are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.search.fleet.classes.host_facts import HostFacts

_TRADE_MARK = re.compile(r"\((?:r|tm|c)\)", re.IGNORECASE)
_SPEED = re.compile(r"@.*|\bwith\b.*", re.IGNORECASE)
_SAYS_NOTHING = re.compile(r"\d+-core|\d+th|gen|intel|amd|cpu|processor|implementer|part", re.IGNORECASE)
_MAX_CHARACTERS = 24
"""With the number of cores it is a column of a table that others fit beside."""


def class_names(classes: Sequence[tuple[HostFacts, Sequence[str]]]) -> tuple[str, ...]:
    """Return the name of each class, given its facts and its hosts, the largest class first.

    It is of the CPU's model and the number of cores. Of several such classes the first has that name, and the others
    have their first host after it: facts and figures are too long, and change with a kernel or from one timing to the
    next.

    Example:
        "epyc-7763-64c" and "epyc-7763-64c-rack3-11"
    """
    names: list[str] = []
    for facts, hosts in classes:
        plain = _plain_name(facts)
        name = plain if plain not in names else f"{plain}-{min(hosts)}"
        nth = 2
        while name in names:
            name, nth = f"{plain}-{min(hosts)}-{nth}", nth + 1
        names.append(name)
    return tuple(names)


def _plain_name(facts: HostFacts) -> str:
    model = _SPEED.sub("", _TRADE_MARK.sub(" ", facts.cpu_model)).lower()
    telling = [word for word in model.split() if not _SAYS_NOTHING.fullmatch(word)]
    text = re.sub("[^a-z0-9]+", "-", " ".join(telling)).strip("-")[:_MAX_CHARACTERS].strip("-") or "cpu"
    return text if facts.cores is None else f"{text}-{facts.cores}c"
