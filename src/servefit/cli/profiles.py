"""``servefit profiles``: the instance profiles, and which of them this host can be."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from servefit.cli.output import Format, FormatOption, emit
from servefit.report.table import Table


def profiles(
    every: Annotated[
        bool, typer.Option("--all", help="Also those that cannot be measured here, with the reason.")
    ] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """List instance profiles: shape, price, and whether this host can measure them.

    Example: servefit profiles --all
    """
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.profiles import all_profiles, why_not_measurable

    described = describe_host()
    judged = [(one, why_not_measurable(one, described)) for one in all_profiles(described)]
    shown = [(one, reason) for one, reason in judged if every or reason is None]
    table = Table(
        columns=("profile", "vCPUs", "memory GiB", "GPUs", "$/hour", "price source", "measurable here"),
        rows=[
            [
                one.name,
                one.vcpus,
                one.memory_bytes / 2**30,
                f"{one.gpus} x {one.gpu_model}" if one.gpus else None,
                one.price_per_hour,
                one.price_source,
                "yes" if reason is None else f"no: {reason}",
            ]
            for one, reason in shown
        ],
    )
    document = {
        "schema": 1,
        "host_fingerprint": described.fingerprint,
        "profiles": [
            {**dataclasses.asdict(one), "measurable": reason is None, "reason": reason} for one, reason in shown
        ],
    }
    emit(table, document, form)
