"""The subcommands of ``servefit``, and the handling of errors and interruptions.

Errors are caught here alone: each becomes one line on stderr, and an exit status. A subcommand is imported when it is
run, or when its own help is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from servefit.annexed import is_there
from servefit.cli.help_panels import format_panels
from servefit.cli.logs import DEFAULT, LogLevelOption, log_to_stderr, with_log_level
from servefit.cli.status import INTERRUPTED, status_of
from servefit.errors import ServefitError, SpecError

if TYPE_CHECKING:
    from servefit.plug_ins import PlugIns

_SETTINGS: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

COMMANDS = {
    "recommend": ("cli.recommend:recommend", "Find what to deploy a model on, by measuring."),
    "profile": ("cli.profiling:profile", "Measure one configuration of a model."),
    "load": ("cli.loading:load", "Measure an endpoint that runs already."),
    "jobs": ("cli.jobs:jobs", "List jobs."),
    "show": ("cli.jobs:show", "Show what a job found."),
    "steps": ("cli.jobs:steps", "List the steps of a job."),
    "stop": ("cli.jobs:stop", "Stop a job."),
    "resume": ("cli.jobs:resume", "Take up a job again."),
    "report": ("cli.reporting:report", "Write the report of a job."),
    "scale": ("cli.scaling:scale", "Plan instances for a rate."),
    "serve": ("cli.serving:serve", "Serve a model, or what a job recommends."),
    "export": ("cli.exporting:export", "Write what another machine needs to serve it."),
    "fleet": ("annexes.fleet", "Make a fleet of several hosts, list and keep them."),
    "agent": ("annexes.fleet.agent:agent", "Offer this host to the jobs of a fleet."),
    "api": ("annexes.aws.api:api", "Answer boto3 and the SageMaker SDK from this machine."),
    "compile": ("cli.compiling:compile_", "Compile a model with a backend."),
    "backends": ("cli.backends:backends", "List backends."),
    "profiles": ("cli.profiles:profiles", "List instance profiles."),
    "prices": ("cli.prices", "Set, import and list the prices of instance profiles."),
    "figures": ("cli.figures:figures", "List what the columns of tables mean."),
    "host": ("cli.host:host", "Describe this machine."),
    "demo": ("cli.demo:demo", "See it all on a model that is trained for it."),
    "schema": ("cli.schema:schema", "Print the JSON Schema of job files."),
}
"""The place of each subcommand, as "module:function" below ``servefit``, and a line about it. The line is here and not
taken from the function, so that ``servefit --help`` imports none of them. One without a function is a group. Where an
annex is not there, its commands are left out."""

GROUPS = {
    "prices": {
        "set": ("cli.prices:set_price", "Set the price of a profile, or of this machine."),
        "import": ("cli.prices:import_list", "Read the price list of a cloud."),
        "list": ("cli.prices:list_prices", "List prices."),
        "remove": ("cli.prices:remove", "Remove a price."),
    },
    "fleet": {
        "init": ("annexes.fleet.hosts:init", "Make what a fleet keeps in a database."),
        "hosts": ("annexes.fleet.hosts:hosts", "List hosts, and what their agents are at."),
        "start": ("annexes.fleet.starting:start", "Start agents over SSH, and keep them."),
        "manifest": ("annexes.fleet.manifest:manifest", "Print what starts agents with systemd, SLURM or Kubernetes."),
        "plan": ("annexes.fleet.planning:plan", "Plan several models on one fleet."),
        "drain": ("annexes.fleet.hosts:drain", "Give a host no more orders."),
        "forget": ("annexes.fleet.hosts:forget", "Delete what is known of a host."),
    },
}
"""The subcommands of each group."""

SUBCOMMANDS = {
    "api": {
        "run": ("annexes.aws.api_run:run", "Run a program with this machine as its AWS."),
    },
}
"""The subcommands of commands that do something by themselves."""

GROUP = "servefit.commands"
"""The group of entry points under which other packages offer subcommands: functions as typer takes them."""

_TAKE_A_COMMAND = {"annexes.aws.api_run:run"}
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
                self._known[name] = _command(name, _function(place), _Prefix if place in _TAKE_A_COMMAND else _Command)
        return self._known[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


class _AllCommands(_Commands):
    """The subcommands of ``servefit``, and those of other packages, which are looked for when ``servefit`` has none of
    that name. Iteration yields those of ``servefit`` alone: a shell that completes names imports no other package."""

    def __getitem__(self, name: str) -> Any:
        if name not in self._known and name in self._plug_ins().names():
            self._known[name] = self._of_another_package(name)
        return super().__getitem__(name)

    def lines_of_others(self) -> list[tuple[str, str]]:
        """Return the names of the subcommands that other packages offer, each with what package that is."""
        plug_ins = self._plug_ins()
        if not plug_ins.may_be_offered():
            return []
        return [(name, _package(plug_ins, name)) for name in plug_ins.names() if name not in self._table]

    def _of_another_package(self, name: str) -> Any:
        from servefit.plug_ins import raised_text

        function = self._plug_ins().imported(name)
        try:
            return _command(name, _with_options(function), _Command)
        except Exception as error:
            package = self._plug_ins().package_of(name)
            raise SpecError(
                "command", name, f"of {package} {raised_text(error)}", remedy="update or uninstall it"
            ) from error

    def _plug_ins(self) -> PlugIns:
        from servefit.plug_ins import PlugIns

        return PlugIns(field="command", group=GROUP, built_in={name: place for name, (place, _) in self._table.items()})


def _package(plug_ins: PlugIns, name: str) -> str:
    try:
        return f"From {plug_ins.package_of(name)}."
    except SpecError as error:  # of several packages
        return f"It {error.problem}."


def _command(name: str, function: Callable[..., None], kind: type[TyperCommand]) -> Any:
    alone = typer.Typer(add_completion=False, **_SETTINGS)
    alone.command(name, cls=kind)(function)
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


def _function(place: str) -> Callable[..., None]:
    module, _, function = place.partition(":")
    return _with_options(getattr(import_module(f"servefit.{module}"), function))


def _with_options(function: Callable[..., None]) -> Callable[..., None]:
    from servefit.cli.numbers import with_parsed_numbers
    from servefit.cli.signatures import with_option_sets

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

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.table = {name: command for name, command in COMMANDS.items() if _is_here(command[0])}
        self.commands: _AllCommands = _AllCommands(self.table)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        super().format_commands(ctx, formatter)
        if lines := self.commands.lines_of_others():
            with formatter.section("Commands of other packages"):
                formatter.write_dl(lines)

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


def _is_here(place: str) -> bool:
    layer, _, rest = place.partition(".")
    return layer != "annexes" or is_there(rest.partition(".")[0])


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
    answer printed; 4 nothing could be measured; 5 the machine is too noisy to tell; 6 undecided, and what is missing
    is said; 130 interrupted.
    """
    log_to_stderr(DEFAULT if log_level is None else log_level)
    _sweep()


def _sweep() -> None:
    """Remove what commands that were killed have left among temporary files, whatever this command is."""
    from servefit.isolation import sweep_calls
    from servefit.serving.private_folders import sweep_private_folders

    sweep_calls()
    sweep_private_folders()
