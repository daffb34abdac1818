"""``servefit profiles``: the instance profiles, and which of them this host can be."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import Annotated

from servefit.cli.output import FormatOption, OutputFormat, WideOption, emit, warn
from servefit.cli.signatures import option
from servefit.option_panels import OUTPUT
from servefit.report.table import Table, without_column


def profiles(
    every: Annotated[
        bool, option("Also those that cannot be measured here, with the reason.", OUTPUT, None, "--all")
    ] = False,
    form: FormatOption = OutputFormat.TABLE,
    wide: WideOption = False,
) -> None:
    """List instance profiles: shape, price, and whether this host can measure them.

    Example: servefit profiles --all
    """
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.prices import old_prices
    from servefit.profiler.machine.profiles import all_profiles, why_not_measurable

    described = describe_host()
    judged = [(profile, why_not_measurable(profile, described)) for profile in all_profiles(described)]
    shown = [(profile, reason) for profile, reason in judged if every or reason is None]
    table = Table(
        columns=(
            "profile",
            "cloud",
            "vCPUs",
            "memory GiB",
            "GPUs",
            "an hour",
            "currency",
            "region",
            "price date",
            "price source",
            "measurable here",
        ),
        rows=[
            [
                profile.name,
                profile.cloud,
                profile.vcpus,
                profile.memory_bytes / 2**30,
                f"{profile.gpus} x {profile.gpu_model}" if profile.gpus else None,
                profile.price_per_hour,
                None if profile.price_per_hour is None else profile.currency,
                profile.region,
                profile.price_date,
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
    brief = without_column(without_column(table, "price source"), "cloud")
    emit(table, document, form, brief=None if wide else brief)
    for warning in old_prices([profile for profile, _ in shown], date.today()):
        warn(warning)
