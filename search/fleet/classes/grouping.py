"""Groups the hosts of a fleet into classes: those with the same facts that take as long for the same work. Names of
classes are short, and the same as long as their hosts are.

Nothing is assumed of a host that was not timed: it is in no class. A host that has its twins' facts and not their speed
is a class of its own, and a sentence says by how much. Timing is for ``calibration``, the search for hosts that are
alike for ``likeness``, and the words for ``sentences``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.search.fleet.classes.host_facts import HostFacts
from servefit.search.fleet.classes.likeness import Alike, find_alike, noisy_works
from servefit.search.fleet.classes.sentences import deviation, fact_differences, noise, not_timed
from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from servefit.search.fleet.classes.host_facts import HostFacts
    from servefit.search.results.host_timing import HostTiming


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


FURTHER_TIMINGS = 3
"""So often at most hosts in doubt are timed again. In ``benchmarks.claims.host_classes``, with the noise of a virtual
machine that shares its memory, twins are then taken for unlike hosts in few fleets; without it is in most of the larger
ones."""


@shown("name", "hosts")
class HostClass(Stored, frozen=True, kw_only=True):
    """Hosts that are alike, sorted by name. What is measured on the ``representative``, which is the nearest to their
    median, holds for all. ``deviates`` says in a sentence how they differ in speed from hosts with the same facts, None
    where they do not."""

    name: str
    facts: HostFacts
    hosts: tuple[str, ...]
    representative: str
    deviates: str | None = None


@shown("classes", "not_timed", "remarks")
class HostClasses(Stored, frozen=True, kw_only=True):
    """The classes of a fleet, the largest first, and the hosts that are in none because they were not timed.

    ``noisy`` are hosts whose timing is too uneven to tell them from others with the same facts. ``remarks`` are
    sentences for people: who deviates and by how much, in which facts classes of the same CPU differ, who is noisy, who
    was not timed.
    """

    classes: tuple[HostClass, ...]
    not_timed: tuple[str, ...]
    noisy: tuple[str, ...]
    remarks: tuple[str, ...]

    def doubtful(self) -> tuple[str, ...]:
        """Return the hosts to time again before they are separated from their twins, sorted: noisy hosts, and all hosts
        that share their facts with one that deviates, since these may be the disturbed ones. They are timed side by
        side, so that takes no longer than timing one. A disturbance is seldom there a second time, and a slow host is
        always slow (``HostTiming.or_quicker``); FURTHER_TIMINGS is how often that helps."""
        deviating = {host_class.facts for host_class in self.classes if host_class.deviates is not None}
        in_question = {
            host for host_class in self.classes if host_class.facts in deviating for host in host_class.hosts
        }
        return tuple(sorted(in_question | {*self.noisy}))


def host_classes(hosts: Mapping[str, tuple[HostFacts, HostTiming | None]]) -> HostClasses:
    """Return the classes of ``hosts``, given by name with their facts and their timings; in whatever order they come.

    Hosts are of one class where their facts are equal and their times are within 3 % of the median of the class, or
    within four standard errors where these are more, up to 10 %: of the host's own timing, or of what hosts with these
    facts usually differ by. Raises SpecError for a host without a name.
    """
    for name in hosts:
        if not name.strip():
            raise SpecError("host", name, "has no name")
    timings = {name: timing for name, (_, timing) in hosts.items() if timing is not None}
    untimed = tuple(sorted(hosts.keys() - timings.keys()))
    by_facts: dict[HostFacts, list[str]] = {}
    for name in sorted(timings):
        by_facts.setdefault(hosts[name][0], []).append(name)
    groups: list[tuple[HostFacts, Alike, str | None]] = []
    for facts, names in by_facts.items():
        largest, *others = find_alike({name: timings[name] for name in names})
        groups.append((facts, largest, None))
        groups.extend((facts, twins, deviation(twins, largest, len(names), timings)) for twins in others)
    groups.sort(key=lambda group: (-len(group[1].hosts), group[1].hosts))
    named = class_names([(facts, alike.hosts) for facts, alike, _ in groups])
    # A host with facts of its own has no twin to differ from.
    having_twins = {name for names in by_facts.values() if len(names) > 1 for name in names}
    noisy = tuple(name for name in sorted(having_twins) if noisy_works(timings[name]))
    return HostClasses(
        classes=tuple(
            HostClass(name=name, facts=facts, hosts=alike.hosts, representative=alike.representative, deviates=sentence)
            for name, (facts, alike, sentence) in zip(named, groups, strict=True)
        ),
        not_timed=untimed,
        noisy=noisy,
        remarks=(
            *(sentence for _, _, sentence in groups if sentence is not None),
            *fact_differences(by_facts),
            *(noise(name, timings[name]) for name in noisy),
            *map(not_timed, untimed),
        ),
    )
