"""``servefit profiles``: the instance profiles, and which of them this host can be."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from servefit.cli.output import Format, FormatOption, WideOption, emit
from servefit.option_panels import OUTPUT
from servefit.report.table import Table, without_column


def profiles(
    every: Annotated[
        bool,
        typer.Option("--all", help="Also those that cannot be measured here, with the reason.", rich_help_panel=OUTPUT),
    ] = False,
    form: FormatOption = Format.TABLE,
    wide: WideOption = False,
) -> None:
    """List instance profiles: shape, price, and whether this host can measure them.

    Example: servefit profiles --all
    """
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.profiles import all_profiles, why_not_measurable

    described = describe_host()
    judged = [(profile, why_not_measurable(profile, described)) for profile in all_profiles(described)]
    shown = [(profile, reason) for profile, reason in judged if every or reason is None]
    table = Table(
        columns=("profile", "vCPUs", "memory GiB", "GPUs", "$/hour", "price source", "measurable here"),
        rows=[
            [
                profile.name,
                profile.vcpus,
                profile.memory_bytes / 2**30,
                f"{profile.gpus} x {profile.gpu_model}" if profile.gpus else None,
                profile.price_per_hour,
                profile.price_source,
                "yes" if reason is None else f"no: {reason}",
            ]
            for profile, reason in shown
        ],
    )
    document = {
        "schema": 1,
        "host_fingerprint": described.fingerprint,
        "profiles": [
            {**dataclasses.asdict(profile), "measurable": reason is None, "reason": reason} for profile, reason in shown
        ],
    }
    emit(table, document, form, brief=None if wide else without_column(table, "price source"))
