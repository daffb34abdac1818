"""``servefit api``: the server that answers boto3 and the SageMaker SDK, in the foreground, until a signal.

Below it is ``run`` (``api_run``), whose server has the same options."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.cli.output import print_text, warn
from servefit.errors import SpecError
from servefit.option_panels import MACHINE, SEARCH

if TYPE_CHECKING:
    from servefit.aws.wire.signatures import SigningSecret

_NEEDED = ("botocore", "matplotlib", "moto", "uvicorn")


def api(
    ctx: typer.Context,
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
    price: Annotated[
        list[str] | None,
        typer.Option(
            "--price",
            metavar="TYPE=PRICE",
            help="Price of an hour of an instance type, such as ml.c5.large=0.102/h. Repeatable.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle",
            help="Open pickles and modules of PyTorch. That runs their code: do it if you know who made them.",
        ),
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code", help="Run the scripts of models (code/inference.py): do it if you know who made them."
        ),
    ] = False,
    allow_env: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-env",
            metavar="NAME",
            help="A variable that requests may set in endpoints and tests, beside those that tune runtimes. "
            "Repeatable.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    allow_noise: Annotated[
        bool,
        typer.Option("--allow-noise", help="Give disturbed measurements a verdict too.", rich_help_panel=MACHINE),
    ] = False,
    until_unused: Annotated[bool, typer.Option("--until-unused", hidden=True)] = False,
) -> None:
    """Answer boto3 and the SageMaker SDK as AWS does, from this machine, until Ctrl-C.

    It prints the variables that point clients here. Jobs and endpoints that it ends go on with the next server.

    Example: servefit api --port 8181
    """
    if ctx.invoked_subcommand is not None:
        return
    check_installed()
    from servefit.aws.environment import client_environment
    from servefit.aws.jobs.plan import JobSettings
    from servefit.aws.programs.use import wait_until_unused
    from servefit.aws.server import ServerOptions, serve
    from servefit.aws.services.sagemaker.prices import parse_prices
    from servefit.aws.state.claim import FOLDER
    from servefit.state import state_folder

    secret = secret_of(secret_env)
    if secret_env is not None:
        # What the server starts for requests, such as scripts of models, has its environment.
        del os.environ[secret_env]
    options = ServerOptions(
        host=host,
        port=port,
        s3_root=s3_root,
        account=account,
        secret=secret,
        jobs=JobSettings(
            profiles=dict(_pair("map", each, "ml.m5.4xlarge=local-2c") for each in map_ or ()),
            prices=parse_prices(dict(_pair("price", each, "ml.c5.large=0.102/h") for each in price or ())),
            time_scale=time_scale,
            trust_pickle=trust_pickle,
            trust_code=trust_code,
            allow_noise=allow_noise,
            allow_env=tuple(allow_env or ()),
        ),
    )
    if host not in ("127.0.0.1", "::1", "localhost"):
        if secret is None:
            raise SpecError(
                "host", host, "can be reached from other machines", remedy="name a secret with --secret-env"
            )
        warn(f"{host} can be reached from other machines; requests are signed, and not encrypted")

    folder = state_folder(FOLDER)

    def ready(address: str) -> None:
        known = client_environment(address, folder=folder, account=options.account, secret=secret)
        print_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in known.items()))

    # A server that programs use has been started by the first of them.
    serve(options, ready=ready, until=partial(wait_until_unused, folder) if until_unused else None)


def check_installed() -> None:
    """Raise SpecError where packages are missing that are not installed with servefit itself."""
    from importlib.util import find_spec

    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise SpecError(
            "api", None, f"needs packages that are not installed: {', '.join(missing)}", remedy="install servefit[aws]"
        )


def secret_of(variable: str | None) -> SigningSecret | None:
    """Return what requests are signed with, by the variable with the secret. Raises SpecError where that is empty."""
    from servefit.aws.environment import ANY_KEY
    from servefit.aws.wire.signatures import SigningSecret

    if variable is None:
        return None
    if not (value := os.environ.get(variable)):
        raise SpecError("secret_env", variable, "has no value", remedy="set the variable where servefit runs")
    return SigningSecret(ANY_KEY, value)


def _pair(option: str, text: str, example: str) -> tuple[str, str]:
    """Parse what an option says of an instance type, "TYPE=TEXT". Raises SpecError."""
    instance_type, equals, said = text.partition("=")
    if not equals or not instance_type or not said:
        raise SpecError(option, text, f"does not look like {example}")
    return instance_type.strip(), said.strip()
