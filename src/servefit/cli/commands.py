"""The subcommands of ``servefit``, and what an error or an interruption becomes.

Only here are errors caught: one line on stderr, and an exit status. Subcommands load what they need when they run.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from servefit.cli.logs import DEFAULT, LogLevelOption, log_to_stderr, with_log_level
from servefit.cli.status import INTERRUPTED, status_of
from servefit.errors import ServefitError


class _Group(TyperGroup):
    """Turns what subcommands raise into exit statuses, before typer does it its own way."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ServefitError as error:
            sys.stderr.write(f"servefit: {error}\n")
            raise typer.Exit(status_of(error)) from error
        except KeyboardInterrupt as interruption:
            sys.stderr.write("servefit: interrupted\n")
            raise typer.Exit(INTERRUPTED) from interruption


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


def _register() -> None:
    from servefit.cli import (
        backends,
        compiling,
        demo,
        exporting,
        figures,
        host,
        jobs,
        loading,
        profiles,
        profiling,
        recommend,
        reporting,
        scaling,
        schema,
        serving,
    )

    for name, function in (
        ("recommend", recommend.recommend),
        ("profile", profiling.profile),
        ("load", loading.load),
        ("jobs", jobs.jobs),
        ("show", jobs.show),
        ("steps", jobs.steps),
        ("stop", jobs.stop),
        ("resume", jobs.resume),
        ("report", reporting.report),
        ("scale", scaling.scale),
        ("serve", serving.serve),
        ("export", exporting.export),
        ("compile", compiling.compile_),
        ("backends", backends.backends),
        ("profiles", profiles.profiles),
        ("figures", figures.figures),
        ("host", host.host),
        ("demo", demo.demo),
        ("schema", schema.schema),
    ):
        app.command(name)(with_log_level(function))


_register()
