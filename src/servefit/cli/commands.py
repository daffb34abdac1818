"""The subcommands of ``servefit``, and the handling of errors and interruptions.

Errors are caught here alone: each becomes one line on stderr, and an exit status. A subcommand is imported when it is
run, or when its own help is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, MutableMapping
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
    "fleet": ("fleet", "Make a fleet of several hosts, list and keep them."),
    "agent": ("agent:agent", "Offer this host to the jobs of a fleet."),
    "api": ("api:api", "Answer boto3 and the SageMaker SDK from this machine."),
    "compile": ("compiling:compile_", "Compile a model with a backend."),
    "backends": ("backends:backends", "List backends."),
    "profiles": ("profiles:profiles", "List instance profiles."),
    "prices": ("prices", "Set, import and list the prices of instance profiles."),
    "figures": ("figures:figures", "List what the columns of tables mean."),
    "host": ("host:host", "Describe this machine."),
    "demo": ("demo:demo", "See it all on a model that is trained for it."),
    "schema": ("schema:schema", "Print the JSON Schema of job files."),
}
"""The place of each subcommand, as "module:function" below this package, and a line about it. The line is here and not
taken from the function, so that ``servefit --help`` imports none of them. One without a function is a group."""

GROUPS = {
    "prices": {
        "set": ("prices:set_price", "Set the price of a profile, or of this machine."),
        "import": ("prices:import_list", "Read the price list of a cloud."),
        "list": ("prices:list_prices", "List prices."),
        "remove": ("prices:remove", "Remove a price."),
    },
    "fleet": {
        "init": ("fleet:init", "Make what a fleet keeps in a database."),
        "hosts": ("fleet:hosts", "List hosts, and what their agents are at."),
        "start": ("fleet_starting:start", "Start agents over SSH, and keep them."),
        "manifest": ("fleet_manifest:manifest", "Print what starts agents with systemd, SLURM or Kubernetes."),
        "plan": ("fleet_planning:plan", "Plan several models on one fleet."),
        "drain": ("fleet:drain", "Give a host no more orders."),
        "forget": ("fleet:forget", "Delete what is known of a host."),
    },
}
"""The subcommands of each group."""

SUBCOMMANDS = {
    "api": {
        "run": ("api_run:run", "Run a program with this machine as its AWS."),
    },
}
"""The subcommands of commands that do something by themselves."""

_TAKE_A_COMMAND = {"api_run:run"}
"""The places of commands whose last argument is a command line: options in that are none of theirs."""


class _Command(TyperCommand):
    """A subcommand whose help has its options in panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        format_panels(self, ctx, formatter)


class _Prefix(_Command):
    """A subcommand that stands before a command line."""

    allow_interspersed_args = False


class _Commands(MutableMapping[str, Any]):
    """The subcommands of a table by name, each imported when it is looked up."""

    def __init__(self, table: Mapping[str, tuple[str, str]]) -> None:
        self._table = table
        self._known: dict[str, Any] = dict.fromkeys(table)

    def __getitem__(self, name: str) -> Any:
        if self._known[name] is None:
            place, does = self._table[name]
            if name in GROUPS:
                self._known[name] = _subgroup(name, does)
            elif name in SUBCOMMANDS:
                self._known[name] = _command_with_others(name, place)
            else:
                self._known[name] = _command(name, place)
        return self._known[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _command(name: str, place: str) -> Any:
    alone = typer.Typer(add_completion=False, **_SETTINGS)
    alone.command(name, cls=_Prefix if place in _TAKE_A_COMMAND else _Command)(_function(place))
    return typer.main.get_command(alone)


def _command_with_others(name: str, place: str) -> Any:
    """Return a command that does something by itself, and has subcommands."""
    both = typer.Typer(
        name=name,
        add_completion=False,
        cls=_CommandWithOthers,
        invoke_without_command=True,
        subcommand_metavar="[COMMAND [ARGS]...]",
        **_SETTINGS,
    )
    both.callback()(_function(place))
    command: Any = typer.main.get_command(both)
    command.table = SUBCOMMANDS[name]
    command.commands = _Commands(command.table)
    return command


def _function(place: str) -> Any:
    from servefit.cli.numbers import with_parsed_numbers
    from servefit.cli.signatures import with_option_sets

    module, _, name = place.partition(":")
    function = getattr(import_module(f"servefit.cli.{module}"), name)
    return with_parsed_numbers(with_log_level(with_option_sets(function)))


class _Subgroup(TyperGroup):
    """A group of subcommands, those of a table."""

    table: Mapping[str, tuple[str, str]]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the order is that of the table
        return list(self.table)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - none of them is imported
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in self.table.items()])


class _CommandWithOthers(_Subgroup):
    """A command that does something by itself: its help has its options in panels, and its subcommands."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        format_panels(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _subgroup(name: str, does: str) -> Any:
    group = _Subgroup(
        name=name,
        help=does,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings=dict(_SETTINGS["context_settings"]),
    )
    group.table = GROUPS[name]
    group.commands = _Commands(group.table)
    return group


class _Group(_Subgroup):
    """The command group, which turns errors of subcommands into exit statuses before typer handles them."""

    table = COMMANDS

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands(COMMANDS)

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
    _sweep()


def _sweep() -> None:
    """Remove what commands that were killed have left among temporary files, whatever this command is."""
    from servefit.isolation import sweep_calls
    from servefit.serving.private_folders import sweep_private_folders

    sweep_calls()
    sweep_private_folders()
