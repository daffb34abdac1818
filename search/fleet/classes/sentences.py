"""Sentences about hosts that differ: by how much, and in what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from servefit.quantities import percent_text
from servefit.search.fleet.classes.facts_text import differences
from servefit.search.fleet.classes.likeness import ALIKE, NOISIEST, SIGMAS, Alike, noisy_works

if TYPE_CHECKING:
    from servefit.search.fleet.classes.host_facts import HostFacts
    from servefit.search.results.host_timing import HostTiming

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

_MAX_NAMES = 4
"""More names than that are counted: a sentence is to be read at once."""

_TAKEN = 0.02
"""Something that has the CPU for less is on every host: the noise audit allows as much."""


def deviation(deviating: Alike, others: Alike, alike: int, timings: Mapping[str, HostTiming]) -> str:
    """Return by how much ``deviating`` hosts differ from the largest class of the ``alike`` hosts with their facts, as
    in "rack3-11 is 14 % slower than its seven twins": its work takes 14 % longer.

    Where no class has more than half of them nobody can say who is right, and both are named. Told are the pieces of
    work that differ, unless all do, and how much the most different one does.
    """
    longer = deviating.slower_than(others)
    most = max(longer.values(), key=abs)
    differing = [work for work, part in longer.items() if part * most > 0 and abs(part) >= min(ALIKE, abs(most))]
    where = "" if len(differing) == len(longer) else f" in {_listed(differing)}"
    one = len(deviating.hosts) == 1
    if 2 * len(others.hosts) > alike:
        whom = f"{'its' if one else 'their'} {_number(len(others.hosts))} twins"
    else:
        whom = _listed(others.hosts)
    is_slower = f"{'is' if one else 'are'} {_whole_percent(abs(most))} {'slower' if most > 0 else 'faster'}"
    taken = max(timings[host].cpu_taken for host in deviating.hosts)
    why = f"; something else had {'its' if one else 'their'} CPU for {_whole_percent(taken)} of the time"
    return f"{_listed(deviating.hosts)} {is_slower} than {whom}{where}{why if taken > _TAKEN else ''}"


def fact_differences(hosts: Mapping[HostFacts, Sequence[str]]) -> Iterator[str]:
    """Yield in which facts the ``hosts`` that share them differ from those of most hosts with the same CPU, as in
    "rack3-02: governor powersave, the others performance"."""
    by_model: dict[str, list[HostFacts]] = {}
    for facts in sorted(hosts, key=lambda facts: (-len(hosts[facts]), min(hosts[facts]))):
        by_model.setdefault(facts.cpu_model, []).append(facts)
    for model in sorted(by_model):
        usual, *unusual = by_model[model]
        differing_facts = [(facts, differences(facts, usual)) for facts in unusual]
        differing = Counter(name for _, facts in differing_facts for name in facts)
        for facts, differs in differing_facts:
            # Where a third kind of host differs too, not all others have the same.
            parts = (
                f"{name} {own}, {'the others' if differing[name] == 1 else _listed(sorted(hosts[usual]))} {other}"
                for name, (own, other) in differs.items()
            )
            yield f"{_listed(sorted(hosts[facts]))}: {'; '.join(parts)}"


def noise(host: str, timing: HostTiming) -> str:
    """Return that a host is too noisy to tell from its twins, and by how much it may be off."""
    works = noisy_works(timing)
    error = max(timing.works()[work].error for work in works)
    return (
        f"{host} is too noisy to tell from its twins: its time for {_listed(works)} may be off by "
        f"{_whole_percent(SIGMAS * error)}, and {percent_text(NOISIEST)} is the most that can be told apart"
    )


def not_timed(host: str) -> str:
    return f"{host} was not timed"


def _whole_percent(part: float) -> str:
    """Return a part in whole per cents; with two digits where these would say too little."""
    return f"{100 * part:.0f} %" if part >= 0.0295 else f"{100 * part:.2g} %"


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"


def _listed(names: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c"; of many, the first and how many more."""
    if len(names) > _MAX_NAMES:
        first = names[: _MAX_NAMES - 1]
        return f"{', '.join(first)} and {_number(len(names) - len(first))} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
