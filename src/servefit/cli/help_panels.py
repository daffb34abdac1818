"""The options of a command in its help: in panels, one for each subject, in the order in which they first appear."""

from __future__ import annotations

from typing import Any

TRAFFIC, SEARCH, MACHINE, OUTPUT = "Traffic", "Search", "Machine", "Output"
"""The subjects of options. What has none stands under "Options"."""


def format_panels(command: Any, context: Any, formatter: Any) -> None:
    """Write the arguments and the options of ``command`` to ``formatter``, both as click has them."""
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    panels |= {subject: [] for subject in (TRAFFIC, SEARCH, MACHINE, OUTPUT)}
    for parameter in command.get_params(context):
        if (record := parameter.get_help_record(context)) is None:
            continue
        subject = "Arguments" if parameter.param_type_name == "argument" else parameter.rich_help_panel or "Options"
        panels.setdefault(subject, []).append(record)
    for subject, records in panels.items():
        if records:
            with formatter.section(subject):
                formatter.write_dl(records)
