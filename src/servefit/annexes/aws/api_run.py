"""``servefit api run``: a program whose clients of AWS find this machine, with a server for it where none runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from servefit.annexes.aws.api import check_installed, secret_of
from servefit.cli.output import print_note


def run(
    ctx: typer.Context,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="The program and its arguments, such as jupyter lab.")
    ],
) -> None:
    """Run COMMAND with AWS's services answered by this machine, without a change to its code.

    It has the variables that servefit api prints, and in its Pythons the SageMaker SDK finds STS here too, so that
    get_execution_role() works. A server that runs on the state folder is used; otherwise one is started, on a free
    port, and ends with the last program that uses it. Options between api and run are for that server, and --secret-env
    is for the program too.

    Exit status: that of COMMAND, 128 + N where signal N ended it, 127 if it is not found, 126 if it cannot be executed,
    2 if there is no server.

    Example: servefit api run -- jupyter lab
    """
    check_installed()
    from servefit.aws.programs.program import NotRun, check_program, program_environment, run_program
    from servefit.aws.programs.server import NotStarted, server_for_programs

    before: Any = ctx.parent
    options, secret = _options_before(before), secret_of(before.params["secret_env"])
    signed_with = None if secret is None else secret.secret
    # A parent process may ignore it, and then the kernel keeps no exit status, neither here nor for the server.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        check_program(command, os.environ)
        with server_for_programs(options, secret=signed_with) as use:
            status = run_program(command, program_environment(use.variables, os.environ), handle=use.handle)
    except NotRun as error:
        print_note(f"servefit: {error}")
        raise typer.Exit(error.status) from error
    except NotStarted as error:
        raise typer.Exit(error.status) from error
    raise typer.Exit(status)


def _options_before(context: Any) -> Mapping[str, Sequence[str]]:
    """Return the options of ``servefit api`` that were given before ``run``, each with the words that give it again.
    ``context`` is that of the command before, as click has it."""
    words = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name == "COMMANDLINE":
            option = next(name for name in parameter.opts if name.startswith("--"))
            words[option] = _words(option, context.params[parameter.name])
    return words


def _words(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option] if value else []
    values = value if isinstance(value, list | tuple) else [value]
    return [f"{option}={item}" for item in values]
