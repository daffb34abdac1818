"""Facts of hosts in words, and in which of them hosts differ."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from servefit.quantities import count_text, given_text
from servefit.showing import one_line

if TYPE_CHECKING:
    from servefit.profiler.machine.topology import Cache
    from servefit.search.fleet.classes.host_facts import HostFacts, Socket

NOT_READABLE = "not readable"

_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

_LISTS = ("caches", "mitigations")

_ABSENT = "none"
"""Stands for something that others have and the host has not: a cache, a library, a vulnerability."""


def described(facts: HostFacts, *, as_wholes: Collection[str] = ()) -> Mapping[str, str]:
    """Return each fact by its name, both in words. Equal facts are described in the same words, and unlike facts are
    not, but for the fields ``as_wholes``, of which only is told whether they can be read."""
    return {name: one_line(text) for name, text in _parts(facts, as_wholes)}


def differences(own: HostFacts, other: HostFacts) -> Mapping[str, tuple[str, str]]:
    """Return the facts in which two hosts differ, by name: what the first has, and what the other has."""
    # Every line of a list would differ if one host does not report that list.
    as_wholes = [name for name in _LISTS if None in (getattr(own, name), getattr(other, name))]
    one, two = described(own, as_wholes=as_wholes), described(other, as_wholes=as_wholes)
    names = dict.fromkeys((*one, *two))
    pairs = {name: (one.get(name, _ABSENT), two.get(name, _ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _parts(facts: HostFacts, as_wholes: Collection[str]) -> Iterator[tuple[str, str]]:
    lists = {"caches": _caches(facts.caches or ()), "mitigations": _mitigations(facts.mitigations or ())}
    for name, lines in lists.items():
        if getattr(facts, name) is None:
            yield name, NOT_READABLE
        elif name in as_wholes:
            yield name, "readable"
        else:
            yield from lines
    yield "CPU", facts.cpu_model
    yield "architecture", facts.architecture
    yield "microcode", _known(facts.microcode)
    yield "CPUs", NOT_READABLE if facts.sockets is None else _sockets(facts.sockets)
    yield "memory", _exactly(facts.memory_bytes, "GiB")
    yield "CPU quota", _ABSENT if facts.cpu_quota is None else given_text(facts.cpu_quota)
    gpus = (f"{gpu.model} of {_exactly(gpu.memory_bytes, 'MiB')}, driver {gpu.driver}" for gpu in facts.gpus)
    yield "GPUs", _counted(gpus)
    yield "virtualisation", _known(facts.virtualisation)
    yield "governor", NOT_READABLE if facts.governors is None else ", ".join(facts.governors)
    yield "boost", _switch(facts.boost)
    yield "SMT", _switch(facts.smt)
    yield "kernel", _known(facts.kernel_series)
    yield "C library", _known(facts.libc)
    yield "Python", facts.python
    yield from facts.libraries
    yield "servefit", facts.servefit


def _caches(caches: Iterable[Cache]) -> Iterator[tuple[str, str]]:
    for name, alike in groupby(caches, lambda cache: f"L{cache.level} {cache.kind} cache"):
        yield name, " and ".join(f"{cache.count} x {_exactly(cache.size_bytes, 'KiB')}" for cache in alike)


def _mitigations(mitigations: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((vulnerability, repr(done)) for vulnerability, done in mitigations)


def _sockets(sockets: Iterable[Socket]) -> str:
    return _counted(
        f"socket of {count_text(socket.cores, 'core')}, {count_text(socket.cpus, 'CPU')} and "
        f"{count_text(socket.nodes, 'NUMA node')}"
        for socket in sockets
    )


def _counted(things: Iterable[str]) -> str:
    """Return sorted things, of which several are told once: 2 x Tesla T4."""
    counts = [(len(list(same)), thing) for thing, same in groupby(things)]
    return " and ".join(f"{count} x {thing}" for count, thing in counts) or _ABSENT


def _exactly(size_bytes: int, unit: str) -> str:
    """Return a size that no other is shown as: nobody sees a difference between 24.1 GiB and 24.1 GiB."""
    return f"{given_text(size_bytes / _UNITS[unit])} {unit}"


def _known(text: str | None) -> str:
    return NOT_READABLE if text is None else text


def _switch(on: bool | None) -> str:
    return NOT_READABLE if on is None else "on" if on else "off"
