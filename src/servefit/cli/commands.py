"""The subcommands of ``servefit``, and the handling of errors and interruptions.

Errors are caught here alone: each becomes one line on stderr, and an exit status. A subcommand is imported when it is
run, or when its own help is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from servefit.cli.help_panels import format_panels
from servefit.cli.logs import DEFAULT, LogLevelOption, log_to_stderr, with_log_level
from servefit.cli.status import INTERRUPTED, status_of
from servefit.errors import ServefitError

_SETTINGS: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

COMMANDS = {
    "recommend": ("recommend:recommend", "Find what to deploy a model on, by measuring."),
    "profile": ("profiling:profile", "Measure one configuration of a model."),
    "load": ("loading:load", "Measure an endpoint that runs already."),
    "jobs": ("jobs:jobs", "List jobs."),
    "show": ("jobs:show", "Show what a job found."),
    "steps": ("jobs:steps", "List the steps of a job."),
    "stop": ("jobs:stop", "Stop a job."),
    "resume": ("jobs:resume", "Take up a job again."),
    "report": ("reporting:report", "Write the report of a job."),
    "scale": ("scaling:scale", "Plan instances for a rate."),
    "serve": ("serving:serve", "Serve a model, or what a job recommends."),
    "export": ("exporting:export", "Write what another machine needs to serve it."),
    "compile": ("compiling:compile_", "Compile a model with a backend."),
    "backends": ("backends:backends", "List backends."),
    "profiles": ("profiles:profiles", "List instance profiles."),
    "figures": ("figures:figures", "List what the columns of tables mean."),
    "host": ("host:host", "Describe this machine."),
    "demo": ("demo:demo", "See it all on a model that is trained for it."),
    "schema": ("schema:schema", "Print the JSON Schema of job files."),
}
"""The place of each subcommand, as "module:function" below this package, and a line about it. The line is here and not
taken from the function, so that ``servefit --help`` imports none of them."""


class _Command(TyperCommand):
    """A subcommand whose help has its options in panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        format_panels(self, ctx, formatter)


class _Commands(MutableMapping[str, Any]):
    """The subcommands by name, each imported when it is looked up."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = dict.fromkeys(COMMANDS)

    def __getitem__(self, name: str) -> Any:
        if self._known[name] is None:
            self._known[name] = _command(name)
        return self._known[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _command(name: str) -> Any:
    from servefit.cli.numbers import with_parsed_numbers

    module, _, function = COMMANDS[name][0].partition(":")
    alone = typer.Typer(add_completion=False, **_SETTINGS)
    given = getattr(import_module(f"servefit.cli.{module}"), function)
    alone.command(name, cls=_Command)(with_parsed_numbers(with_log_level(given)))
    return typer.main.get_command(alone)


class _Group(TyperGroup):
    """The command group, which turns errors of subcommands into exit statuses before typer handles them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the order is that of the table
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - none of them is imported
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in COMMANDS.items()])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ServefitError as error:
            from servefit.cli.output import print_note

            print_note(f"servefit: {error}")
            raise typer.Exit(status_of(error)) from error
        except KeyboardInterrupt as interruption:
            sys.stderr.write("servefit: interrupted\n")
            raise typer.Exit(INTERRUPTED) from interruption


app = typer.Typer(cls=_Group, no_args_is_help=True, **_SETTINGS)


def _print_version(asked: bool) -> None:
    if asked:
        from servefit.version import __version__

        sys.stdout.write(f"servefit {__version__}\n")
        raise typer.Exit


@app.callback()
def servefit(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    log_level: LogLevelOption = None,
) -> None:
    """Find the cheapest way to serve a trained model on hardware you own, by measuring.

    Exit status: 0 SLA met, or nothing asked; 2 usage, or a model or payload that cannot be read; 3 SLA unmet, nearest
    answer printed; 4 nothing could be measured; 5 the machine is too noisy to tell; 130 interrupted.
    """
    log_to_stderr(DEFAULT if log_level is None else log_level)
