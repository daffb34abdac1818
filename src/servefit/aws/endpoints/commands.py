"""The command that serves an endpoint: ``servefit serve`` with what the variables of its model say."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.aws.endpoints.variables import (
    BACKEND,
    BASIS,
    BATCH_DELAY,
    MAX_BATCH,
    MEASURED_AS,
    check_container,
)
from servefit.search.request.job_request import THREADS_VARIABLE, WORKERS_VARIABLE, plain_name

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.recommendation import Basis

_OPTIONS = {
    BACKEND: "--backend",
    MAX_BATCH: "--batch",
    BATCH_DELAY: "--batch-delay",
    THREADS_VARIABLE: "--threads",
    WORKERS_VARIABLE: "--workers",
}


@dataclass(frozen=True, slots=True)
class Serving:
    """A command, and the variables that it takes from its environment, so that nobody sees them in a list of
    processes."""

    arguments: list[str]
    environment: Mapping[str, str]


def serving_command(
    model: str,
    profile: str,
    variables: Mapping[str, str],
    *,
    name: str,
    trust_pickle: bool,
    trust_code: bool = False,
    allowed: Collection[str] = (),
) -> Serving:
    """Return the command that serves. A recommendation that was measured as another profile is served as that.
    Variables of SageMaker's containers, which say how to run a script, are left out unless they are ``allowed``. Raises
    SpecError for another that is neither on the list nor allowed: an endpoint that an earlier version made may have
    one.

    Example:
        >>> serving = serving_command("m.ubj", "local-1c", {"SERVEFIT_BACKEND": "forest"}, name="m", trust_pickle=False)
        >>> serving.arguments[4:]
        ['serve', '--model', 'm.ubj', '--profile', 'local-1c', '--name', 'm', '--port', '0', '--backend', 'forest']
    """
    variables = {
        name: value
        for name, value in variables.items()
        if name in allowed or plain_name(name) != name or not name.startswith("SAGEMAKER_")
    }
    check_container(variables, allowed)
    profile = variables.get(MEASURED_AS, profile)
    # -P: the folder that the server was started in may hold uploaded objects, and a numpy.py
    command = [sys.executable, "-P", "-m", "servefit", "serve", "--model", model, "--profile", profile]
    command += ["--name", name, "--port", "0"]
    if trust_pickle:
        command.append("--trust-pickle")
    if trust_code:
        command.append("--trust-code")
    environment = {}
    for variable, value in variables.items():
        plain = plain_name(variable)
        if plain in (MEASURED_AS, BASIS) or (plain, value) == (BATCH_DELAY, "0"):
            continue
        if plain in _OPTIONS:
            command += [_OPTIONS[plain], f"{value}us" if plain == BATCH_DELAY else value]
        else:
            command += ["--secret-env", plain]
            environment[plain] = value
    return Serving(command, environment)


def variables_of(configuration: Configuration, *, measured_as: str | None, basis: Basis) -> dict[str, str]:
    """Return the variables with which an endpoint serves a configuration: what :func:`serving_command` reads, and what
    is said of its figures. ``measured_as`` is None where the profile is that of the instance type."""
    own = {
        THREADS_VARIABLE: str(configuration.settings.threads),
        f"SAGEMAKER_{WORKERS_VARIABLE}": str(configuration.workers),
        BACKEND: configuration.backend,
        MAX_BATCH: str(configuration.max_batch),
        BATCH_DELAY: str(configuration.batch_delay_us),
        **dict(configuration.environment),
    }
    if measured_as is not None:
        own[MEASURED_AS] = measured_as
    if basis != "measured":
        own[BASIS] = basis
    return own
