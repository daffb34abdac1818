"""``servefit host``: the facts of this machine, its means of holding workers to a profile, and its noise."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

from servefit.cli.options import QuietOption, WaitOptions
from servefit.cli.output import FormatOption, OutputFormat, emit
from servefit.cli.progress import showing_stage
from servefit.cli.signatures import option
from servefit.option_panels import MACHINE
from servefit.quantities import given_text, number_text, percent_text, size_text
from servefit.report.table import Table, cell_text

if TYPE_CHECKING:
    from servefit.backends.types import Availability
    from servefit.profiler.machine.envelope.types import EnvelopeMethod
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.slot.holding import SlotState
    from servefit.profiler.procedures.noise.preflight import Preflight

    Methods = tuple[tuple[EnvelopeMethod, Availability], ...]
    Rows = list[list[str]]

UNREADABLE = "not readable"


def host(
    facts: Annotated[bool, option("Only what can be read at once: do not measure how quiet it is.", MACHINE)] = False,
    *,
    waiting: WaitOptions,
    form: FormatOption = OutputFormat.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Say what this machine is, what it can hold a worker to, and how quiet it is (which takes five seconds).

    Example: servefit host --format json
    """
    from servefit.profiler.machine.envelope.opening import available_methods
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.slot.holding import measuring_slot, slot_state
    from servefit.profiler.procedures.noise.preflight import preflight

    wait_s = waiting.wait_s()
    with nullcontext() if facts else measuring_slot("servefit host", wait_s=wait_s):
        described = describe_host()
        methods = available_methods()
        with showing_stage("listening, then timing the same work again and again", quiet=quiet or facts):
            noise = preflight(described, measuring=not facts)
    slot = slot_state()
    contained = any(method != "affinity" and availability.available for method, availability in methods)
    document = {
        "schema": 1,
        **dataclasses.asdict(described),
        "containment": "cgroup" if contained else "uncontained",
        "methods": [{"method": method, **dataclasses.asdict(availability)} for method, availability in methods],
        "measuring_slot": {
            "path": str(slot.path),
            "scope": slot.scope,
            "held_by": None if slot.holder is None else str(slot.holder),
        },
        **dataclasses.asdict(noise),
    }
    rows = [*_fact_rows(described), *_envelope_rows(methods), _slot_row(slot), *_noise_rows(described, noise)]
    emit(Table(columns=("property", "value"), rows=rows), document, form)


def _fact_rows(described: Host) -> Rows:
    cgroups = described.cgroups
    groups = "none mounted" if cgroups.kind is None else f"{cgroups.kind}, {'' if cgroups.writable else 'not '}writable"
    gpus = ", ".join(f"{gpu.model} ({size_text(gpu.memory_bytes)})" for gpu in described.gpus)
    return [
        ["processor", f"{described.cpu_model} ({described.architecture})"],
        [
            "CPUs",
            f"{described.logical_cpus} logical on {described.physical_cores} cores, "
            f"{described.numa_nodes} NUMA {'node' if described.numa_nodes == 1 else 'nodes'}",
        ],
        ["SMT", "siblings share cores" if described.smt else "no"],
        [
            "caches",
            ", ".join(f"L{cache.level} {cache.kind} {cache.size_bytes // 1024:,} KiB" for cache in described.caches),
        ],
        ["memory", size_text(described.memory_bytes)],
        ["GPUs", gpus or f"none: {described.no_gpu_reason}"],
        ["operating system", f"{described.operating_system}, kernel {described.kernel}"],
        ["virtualisation", described.virtualisation or UNREADABLE],
        ["control groups", groups],
        ["CPU quota", "none" if cgroups.cpu_quota is None else f"{given_text(cgroups.cpu_quota)} CPUs"],
        ["Python", described.python],
        ["fingerprint", described.fingerprint],
    ]


def _envelope_rows(methods: Methods) -> Rows:
    rows = []
    for method, availability in methods:
        remedy = f"; {availability.remedy}" if availability.remedy else ""
        works = "works, and contains nothing" if method == "affinity" else "works"
        rows.append([f"envelope: {method}", works if availability.available else f"{availability.reason}{remedy}"])
    return rows


def _slot_row(slot: SlotState) -> list[str]:
    scope = "of this host" if slot.scope == "host" else "of this user alone, who may not write in /run/lock"
    held = "free" if slot.holder is None else f"held by {slot.holder}"
    return ["measuring slot", f"{slot.path}, {scope}: {held}"]


def _noise_rows(described: Host, noise: Preflight) -> Rows:
    tuning, activity, floor = noise.tuning, noise.activity, noise.noise_floor
    rows = [
        ["load average", ", ".join(f"{load:.2f}" for load in described.load_average)],
        ["steal since boot", _percent(described.steal_percent, "of CPU time")],
        ["CPU governor", " and ".join(tuning.governors) or UNREADABLE],
        ["CPU boost", UNREADABLE if tuning.boost is None else cell_text(tuning.boost)],
        [
            "thermal throttling",
            UNREADABLE if tuning.thermal_throttles is None else f"{tuning.thermal_throttles} times since boot",
        ],
    ]
    if activity is not None:
        busiest = ", ".join(f"{process.name} {number_text(process.cpu_percent)} %" for process in activity.competitors)
        rows += [
            ["other load now", _percent(activity.foreign_percent, "of a CPU") + (f": {busiest}" if busiest else "")],
            ["steal now", _percent(activity.steal_percent, "of CPU time")],
            ["tasks waiting for a CPU", _percent(activity.cpu_pressure_percent, "of the time")],
            ["tasks waiting for memory", _percent(activity.memory_pressure_percent, "of the time")],
        ]
    if floor is not None:
        rows.append(["smallest difference that shows", f"{percent_text(floor.resolvable)} (A/A run)"])
    rows += [[f"warning: {finding.subject}", f"{finding.warning}; {finding.remedy}"] for finding in noise.findings]
    return rows


def _percent(value: float | None, of: str) -> str:
    return UNREADABLE if value is None else f"{number_text(value)} % {of}"
