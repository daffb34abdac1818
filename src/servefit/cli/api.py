"""``servefit api``: the server that answers boto3 and the SageMaker SDK, in the foreground, until a signal."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.cli.output import print_line, warn
from servefit.errors import SpecError
from servefit.option_panels import MACHINE, SEARCH

if TYPE_CHECKING:
    from servefit.aws.wire.signatures import Secret

_NEEDED = ("botocore", "moto", "uvicorn")


def api(
    *,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on.", rich_help_panel=MACHINE)
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="Port to listen on; 0 is any that is free.", rich_help_panel=MACHINE
        ),
    ] = 8181,
    s3_root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the objects: a folder in it is a bucket. Default: in the state folder.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    account: Annotated[
        str, typer.Option(metavar="ID", help="Account of all resources, 12 digits.", rich_help_panel=MACHINE)
    ] = "123456789012",
    secret_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Variable with the secret that requests have to be signed with. Default: none is needed.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    time_scale: Annotated[
        float,
        typer.Option(
            metavar="FACTOR",
            envvar="SERVEFIT_API_TIME_SCALE",
            help="Multiply the durations of phases, stairs and jobs.",
            rich_help_panel=SEARCH,
        ),
    ] = 1.0,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="TYPE=PROFILE",
            help="Measure an instance type as another profile. Repeatable.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    trust_pickle: Annotated[
        bool,
        typer.Option("--trust-pickle", help="Unpickle models. Unpickling runs code: do it if you know who made them."),
    ] = False,
    allow_noise: Annotated[
        bool,
        typer.Option("--allow-noise", help="Give disturbed measurements a verdict too.", rich_help_panel=MACHINE),
    ] = False,
) -> None:
    """Answer boto3 and the SageMaker SDK as AWS does, from this machine, until Ctrl-C.

    It prints the variables that point clients here. Jobs and endpoints that it ends go on with the next server.

    Example: servefit api --port 8181
    """
    _check_installed()
    from servefit.aws.environment import client_environment
    from servefit.aws.jobs.plan import JobSettings
    from servefit.aws.server import FOLDER, ServerOptions, serve
    from servefit.state import state_folder

    secret = _secret(secret_env)
    options = ServerOptions(
        host=host,
        port=port,
        s3_root=s3_root,
        account=_account(account),
        secret=secret,
        jobs=JobSettings(
            profiles=dict(map(_mapped, map_ or ())),
            time_scale=_time_scale(time_scale),
            trust_pickle=trust_pickle,
            allow_noise=allow_noise,
        ),
    )
    if host not in ("127.0.0.1", "::1", "localhost"):
        if secret is None:
            raise SpecError(
                "host", host, "can be reached from other machines", remedy="name a secret with --secret-env"
            )
        warn(f"{host} can be reached from other machines; requests are signed, and not encrypted")

    def ready(address: str) -> None:
        known = client_environment(address, folder=state_folder(FOLDER), account=options.account, secret=secret)
        for name, value in known.items():
            print_line(f"export {name}={shlex.quote(value)}")

    serve(options, ready=ready)


def _check_installed() -> None:
    from importlib.util import find_spec

    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise SpecError(
            "api", None, f"needs packages that are not installed: {', '.join(missing)}", remedy="install servefit[aws]"
        )


def _secret(variable: str | None) -> Secret | None:
    from servefit.aws.environment import ANY_KEY
    from servefit.aws.wire.signatures import Secret

    if variable is None:
        return None
    if not (value := os.environ.get(variable)):
        raise SpecError("secret_env", variable, "has no value", remedy="set the variable where servefit runs")
    return Secret(ANY_KEY, value)


def _account(text: str) -> str:
    if len(text) != 12 or not text.isascii() or not text.isdecimal():
        raise SpecError("account", text, "is not 12 digits")
    return text


def _time_scale(factor: float) -> float:
    from servefit.checks import check_above_zero

    check_above_zero("time_scale", factor)
    return factor


def _mapped(text: str) -> tuple[str, str]:
    """Parse "TYPE=PROFILE". Raises SpecError."""
    instance_type, equals, profile = text.partition("=")
    if not equals or not instance_type or not profile:
        raise SpecError("map", text, "does not look like ml.m5.4xlarge=local-2c")
    return instance_type.strip(), profile.strip()
