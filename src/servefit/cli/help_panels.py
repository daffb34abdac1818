"""The options of a command in its help: in panels, one for each subject, in the order in which they first appear."""

from __future__ import annotations

from typing import Any

from servefit.option_panels import PANELS


def help_record(parameter: Any, context: Any) -> tuple[str, str] | None:
    """Return the name of an argument or an option as it is typed, and its help; None for a hidden one. Arguments have
    their name alone, without the type that typer would write behind it."""
    record: tuple[str, str] | None = parameter.get_help_record(context)
    if record is None or parameter.param_type_name != "argument":
        return record
    return parameter.metavar or parameter.name.upper(), record[1]


def format_panels(command: Any, context: Any, formatter: Any) -> None:
    """Write the arguments and the options of ``command`` to ``formatter``, both as click has them. An option without a
    panel stands under "Options"."""
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    panels |= {subject: [] for subject in PANELS}
    for parameter in command.get_params(context):
        if (record := help_record(parameter, context)) is None:
            continue
        subject = "Arguments" if parameter.param_type_name == "argument" else parameter.rich_help_panel or "Options"
        panels.setdefault(subject, []).append(record)
    for subject, records in panels.items():
        if records:
            with formatter.section(subject):
                formatter.write_dl(records)
