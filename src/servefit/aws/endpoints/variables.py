"""The variables of containers: what a request may say in them, and what becomes of it.

Those on the list of runtimes' knobs reach the process that serves. servefit's own, with which a recommendation comes
back, and two of SageMaker's choose options of it. Those that tell a container of SageMaker how it is to run its script
reach nothing here. All others are refused, unless the server was started with ``--allow-env`` for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from servefit.aws.wire.errors import invalid
from servefit.backends.variables.allowed_variables import (
    ALLOWED,
    COUNT,
    NUMBER,
    AllowedVariable,
    Values,
    check_variables,
    one_of,
)
from servefit.errors import SpecError
from servefit.search.request.job_request import THREADS_VARIABLE, WORKERS_VARIABLE

BACKEND, MAX_BATCH, BATCH_DELAY = ("SERVEFIT_BACKEND", "SERVEFIT_MAX_BATCH", "SERVEFIT_BATCH_DELAY_US")
"""servefit's own choices among the variables of a recommendation, which come back in the model that is deployed."""

MEASURED_AS, BASIS = ("SERVEFIT_MEASURED_AS", "SERVEFIT_BASIS")
"""Remarks on the figures of a recommendation, where AWS has no place for them: the profile that they are of, unless it
is that of the instance type, and that they are predicted, unless they were measured."""

_NAME = Values(r"[a-z0-9][a-z0-9 ._-]{0,127}", "a name that begins with a letter or a digit")
_TEXT = Values(r"[^\0]*", "a text")

_OF_CONTAINERS: Mapping[str, AllowedVariable] = {
    "SAGEMAKER_PROGRAM": AllowedVariable(_TEXT, "the SDK sets it; the script is code/inference.py"),
    "SAGEMAKER_SUBMIT_DIRECTORY": AllowedVariable(_TEXT, "the SDK sets it; the script is in the model's archive"),
    "SAGEMAKER_CONTAINER_LOG_LEVEL": AllowedVariable(NUMBER, "the SDK sets it; logs are servefit's own"),
    "SAGEMAKER_REGION": AllowedVariable(_TEXT, "the SDK sets it; there is one region"),
    "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": AllowedVariable(_TEXT, "containers read it; a request says what it takes"),
    "SAGEMAKER_MODEL_SERVER_TIMEOUT": AllowedVariable(NUMBER, "containers read it; calls have servefit's own limit"),
    "SAGEMAKER_BIND_TO_PORT": AllowedVariable(NUMBER, "containers read it; the port is any that is free"),
    "SAGEMAKER_SAFE_PORT_RANGE": AllowedVariable(_TEXT, "the same"),
}
"""Variables of SageMaker's containers that are taken, and reach no process."""

_OF_JOBS: Mapping[str, AllowedVariable] = {
    **ALLOWED,
    **{f"SAGEMAKER_{name}": ALLOWED[name] for name in (THREADS_VARIABLE, WORKERS_VARIABLE)},
}
"""Variables that a job may vary: each value is tried in the environment of workers."""

_LISTED: Mapping[str, AllowedVariable] = {
    **_OF_JOBS,
    **_OF_CONTAINERS,
    BACKEND: AllowedVariable(_NAME, "the backend that serves"),
    MAX_BATCH: AllowedVariable(COUNT, "most requests in a call"),
    BATCH_DELAY: AllowedVariable(NUMBER, "how long the first of a batch waits"),
    MEASURED_AS: AllowedVariable(_NAME, "the profile that serves"),
    BASIS: AllowedVariable(one_of("measured", "predicted"), "what is said of the figures"),
}

CONSENT = "leave it out, or start servefit api with --allow-env {name} if you know who sends requests"


def check_container(variables: Mapping[str, str], allowed: Collection[str]) -> None:
    """Raise SpecError for a variable that a container may not have here."""
    check_variables(variables.items(), allowed, remedy=CONSENT, listed=_LISTED)


def refuse_variables(request: Any, allowed: Collection[str]) -> None:
    """Raise ApiError, ValidationException, for a request that has a variable which a container may not have, wherever
    it has it: a model, a package, a job."""
    try:
        for structure in _structures(request):
            # Metadata and tags have names of the client's own, which may be these, and then stand for texts.
            if isinstance(variables := structure.get("Environment"), dict):
                check_container(variables, allowed)
            if isinstance(ranges := structure.get("CategoricalParameterRanges"), list):
                varied = ((varied_range["Name"], value) for varied_range in ranges for value in varied_range["Value"])
                check_variables(varied, allowed, remedy=CONSENT, listed=_OF_JOBS)
    except SpecError as error:
        raise invalid(str(error)) from error


def _structures(request: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a request and all structures within it."""
    waiting = [request]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            yield value
            waiting += value.values()
