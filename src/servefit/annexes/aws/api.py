"""``servefit api``: the server that answers boto3 and the SageMaker SDK, in the foreground, until a signal.

Below it is ``run`` (``api_run``), whose server has the same options."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.cli.output import print_text, warn
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import MACHINE, SEARCH

if TYPE_CHECKING:
    from servefit.aws.jobs.plan import JobSettings
    from servefit.aws.wire.signatures import SigningSecret

_NEEDED = ("botocore", "matplotlib", "moto", "uvicorn")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientJobOptions:
    """The conditions under which jobs of clients run."""

    time_scale: Annotated[
        float,
        typer.Option(
            metavar="FACTOR",
            envvar="SERVEFIT_API_TIME_SCALE",
            help="Multiply the durations of phases, stairs and jobs.",
            rich_help_panel=SEARCH,
        ),
    ] = 1.0
    map_: Annotated[
        list[str] | None,
        option("Measure an instance type as another profile. Repeatable.", SEARCH, "TYPE=PROFILE", "--map"),
    ] = None
    price: Annotated[
        list[str] | None,
        option("Price of an hour of an instance type, such as ml.c5.large=0.102/h. Repeatable.", SEARCH, "TYPE=PRICE"),
    ] = None
    trust_pickle: Annotated[
        bool,
        option("Open pickles and modules of PyTorch. That runs their code: do it if you know who made them."),
    ] = False
    trust_code: Annotated[
        bool,
        option("Run the scripts of models (code/inference.py): do it if you know who made them."),
    ] = False
    allow_env: Annotated[
        list[str] | None,
        option(
            "A variable that requests may set in endpoints and tests, beside those that tune runtimes. Repeatable.",
            MACHINE,
            "NAME",
        ),
    ] = None
    allow_noise: Annotated[
        bool,
        option("Give disturbed measurements a verdict too.", MACHINE),
    ] = False

    def settings(self) -> JobSettings:
        """Return the settings that the options make. Raises SpecError."""
        from servefit.aws.jobs.plan import JobSettings
        from servefit.aws.services.sagemaker.prices import parse_prices

        return JobSettings(
            profiles=dict(_pair("map", text, "ml.m5.4xlarge=local-2c") for text in self.map_ or ()),
            prices=parse_prices(dict(_pair("price", text, "ml.c5.large=0.102/h") for text in self.price or ())),
            time_scale=self.time_scale,
            trust_pickle=self.trust_pickle,
            trust_code=self.trust_code,
            allow_noise=self.allow_noise,
            allow_env=tuple(self.allow_env or ()),
        )


def api(
    ctx: typer.Context,
    *,
    host: Annotated[str, option("Address to listen on.", MACHINE, "ADDRESS")] = "127.0.0.1",
    port: Annotated[
        int,
        option("Port to listen on; 0 is any that is free.", MACHINE, "PORT", least=0, most=65535),
    ] = 8181,
    s3_root: Annotated[
        Path | None,
        option("Folder of the objects: a folder in it is a bucket. Default: in the state folder.", MACHINE, "DIR"),
    ] = None,
    account: Annotated[str, option("Account of all resources, 12 digits.", MACHINE, "ID")] = "123456789012",
    secret_env: Annotated[
        str | None,
        option(
            "Variable with the secret that requests have to be signed with. Default: none is needed.", MACHINE, "NAME"
        ),
    ] = None,
    jobs: ClientJobOptions,
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
    from servefit.aws.programs.use import wait_until_unused
    from servefit.aws.server import ServerOptions, serve
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
        jobs=jobs.settings(),
    )
    if host not in ("127.0.0.1", "::1", "localhost"):
        if secret is None:
            raise SpecError(
                "host", host, "can be reached from other machines", remedy="name a secret with --secret-env"
            )
        warn(f"{host} can be reached from other machines; requests are signed, and not encrypted")

    folder = state_folder(FOLDER)

    def ready(address: str) -> None:
        variables = client_environment(address, folder=folder, account=options.account, secret=secret)
        print_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))

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
