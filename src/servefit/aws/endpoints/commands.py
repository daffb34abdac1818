"""The command that serves an endpoint: ``servefit serve`` with what the variables of its model say."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from servefit.search.request.job_request import THREADS_VARIABLE, WORKERS_VARIABLE, plain_name

BACKEND, MAX_BATCH, BATCH_DELAY, MEASURED_AS = (
    "SERVEFIT_BACKEND",
    "SERVEFIT_MAX_BATCH",
    "SERVEFIT_BATCH_DELAY_US",
    "SERVEFIT_MEASURED_AS",
)
"""servefit's own choices among the variables of a recommendation, which come back in the model that is deployed."""

_OPTIONS = {
    BACKEND: "--backend",
    MAX_BATCH: "--batch",
    BATCH_DELAY: "--batch-delay",
    THREADS_VARIABLE: "--threads",
    WORKERS_VARIABLE: "--workers",
}


def serving_command(
    model: str, profile: str, variables: Mapping[str, str], *, name: str, trust_pickle: bool
) -> list[str]:
    """Return the command. Variables of SageMaker's containers, which say how to run a script, are left out.

    Example:
        >>> serving_command("m.ubj", "local-1c", {"SERVEFIT_BACKEND": "forest"}, name="fraud", trust_pickle=False)[3:]
        ['serve', '--model', 'm.ubj', '--profile', 'local-1c', '--name', 'fraud', '--port', '0', '--backend', 'forest']
    """
    command = [sys.executable, "-m", "servefit", "serve", "--model", model, "--profile", profile]
    command += ["--name", name, "--port", "0"]
    if trust_pickle:
        command.append("--trust-pickle")
    for variable, value in variables.items():
        plain = plain_name(variable)
        if plain == MEASURED_AS or plain.startswith("SAGEMAKER_") or (plain, value) == (BATCH_DELAY, "0"):
            continue
        if plain in _OPTIONS:
            command += [_OPTIONS[plain], f"{value}us" if plain == BATCH_DELAY else value]
        else:
            command += ["--env", f"{plain}={value}"]
    return command
