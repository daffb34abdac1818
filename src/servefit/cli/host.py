"""``servefit host``: what this machine is."""

from __future__ import annotations

import dataclasses

from servefit.cli.output import Format, FormatOption, Table, emit

UNREADABLE = "not readable"


def host(form: FormatOption = Format.TABLE) -> None:
    """Say what this machine is, and what of it servefit can use.

    Example: servefit host --format json
    """
    from servefit.profiler.host import describe_host

    described = describe_host()
    cgroups = described.cgroups
    groups = "none mounted" if cgroups.kind is None else f"{cgroups.kind}, {'' if cgroups.writable else 'not '}writable"
    gpus = ", ".join(f"{gpu.model} ({gpu.memory_bytes / 2**30:.0f} GiB)" for gpu in described.gpus)
    steal = UNREADABLE if described.steal_percent is None else f"{described.steal_percent:.2f} % since boot"
    rows = [
        ["processor", f"{described.cpu_model} ({described.architecture})"],
        [
            "CPUs",
            f"{described.logical_cpus} logical on {described.physical_cores} cores, "
            f"{described.numa_nodes} NUMA {'node' if described.numa_nodes == 1 else 'nodes'}",
        ],
        ["SMT", "siblings share cores" if described.smt else "no"],
        ["caches", ", ".join(f"L{one.level} {one.kind} {one.size_bytes // 1024:,} KiB" for one in described.caches)],
        ["memory", f"{described.memory_bytes / 2**30:.1f} GiB"],
        ["GPUs", gpus or f"none: {described.no_gpu_reason}"],
        ["operating system", f"{described.operating_system}, kernel {described.kernel}"],
        ["virtualisation", described.virtualisation or UNREADABLE],
        ["CPU governor", described.governor or UNREADABLE],
        ["control groups", groups],
        ["CPU quota", "none" if cgroups.cpu_quota is None else f"{cgroups.cpu_quota:g} CPUs"],
        ["load average", ", ".join(f"{load:.2f}" for load in described.load_average)],
        ["steal", steal],
        ["Python", described.python],
        ["containment", "CPU affinity (uncontained)"],
        ["fingerprint", described.fingerprint],
    ]
    document = {"schema": 1, **dataclasses.asdict(described), "containment": "uncontained"}
    emit(Table(columns=("property", "value"), rows=rows), document, form)
