"""Facts and timings of hosts that do not exist."""

from __future__ import annotations

from typing import Any

from servefit.profiler.machine.topology import Cache
from servefit.search.fleet.classes.host_facts import HostFacts, Socket
from servefit.search.results.host_timing import CallsTime, HostTiming, WorkTime

GIB = 2**30

Hosts = dict[str, tuple[HostFacts, HostTiming | None]]


def facts(**other: Any) -> HostFacts:
    """A server of two sockets, with the facts that are given otherwise."""
    usual: dict[str, Any] = {
        "cpu_model": "AMD EPYC 7763 64-Core Processor",
        "architecture": "x86_64",
        "microcode": "0xa0011d5",
        "sockets": (Socket(nodes=1, cores=64, cpus=128),) * 2,
        "caches": (Cache(level=3, kind="unified", size_bytes=32 * 2**20, count=16),),
        "memory_bytes": 512 * GIB,
        "cpu_quota": None,
        "gpus": (),
        "virtualisation": "none",
        "governors": ("performance",),
        "boost": True,
        "smt": True,
        "mitigations": (("meltdown", "Not affected"), ("retbleed", "Mitigation: untrained return thunk")),
        "kernel_series": "6.18",
        "libc": "glibc 2.41",
        "python": "CPython 3.11.7 (GCC 14.2.0)",
        "libraries": (("numpy", "2.4.6"), ("xgboost", "3.2.0")),
        "servefit": "0.1.0",
    }
    return HostFacts(**usual | other)


def work(time_ns: float, error: float = 0.005) -> WorkTime:
    """A time with an interval that has so much of it for a standard error."""
    half = 1.96 * error * time_ns
    return WorkTime(time_ns=time_ns, low_ns=time_ns - half, high_ns=time_ns + half)


def timing(
    longer: float = 0.0,
    *,
    memory: float | None = None,
    calls: float | None = None,
    error: float = 0.005,
    taken: float = 0.0,
    subject: str | None = None,
) -> HostTiming:
    """A host that takes a part ``longer`` than usual, in memory or calls by another part."""
    of_memory = longer if memory is None else memory
    of_calls = longer if calls is None else calls
    sizes = () if subject is None else ((1, 1e6), (64, 4e6))
    return HostTiming(
        arithmetic=work(5e5 * (1 + longer), error),
        memory=work(1.3e6 * (1 + of_memory), error),
        cpu_taken=taken,
        calls=tuple(CallsTime(requests=n, time=work(ns * (1 + of_calls), error)) for n, ns in sizes),
        subject=subject,
    )


def rack(longer: dict[str, float], **other: Any) -> Hosts:
    """Hosts with the same facts that take so much longer."""
    return {name: (facts(**other), timing(part)) for name, part in longer.items()}
