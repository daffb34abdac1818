"""Limits on jobs that others may have written: this machine runs what its user has agreed to, and no more.

Who can write to a shared database writes all that is in it: the request of a job, the steps that it is resumed from,
and the recommendations that are served and exported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from servefit.backends.model.keeping import find_kept
from servefit.backends.model.types import Format
from servefit.backends.variables.allowed_variables import check_variables
from servefit.errors import ModelError, SpecError

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.search.request.job_request import JobRequest

CONSENT = "name it yourself with --allow-env {name} (allow_env) if you know who began the job"
"""The remedy where it sets a variable that is not on the list."""


def check_written_by_others(
    model: Model, request: JobRequest | None, variables: Iterable[tuple[str, str]], *, allowed: Collection[str]
) -> None:
    """Raise SpecError for a variable that is neither on the list nor ``allowed``, and for a metric that is a function,
    which is imported; ModelError for a model whose opening runs code, unless this machine keeps it: then its user has
    trusted it, with that content."""
    check_variables(variables, allowed, remedy=CONSENT)
    if request is not None:
        check_metric_is_known(request)
    if not model.format.that_runs_code and model.format is not Format.SCRIPT:
        return
    kept = find_kept(model.digest)
    if kept is None or kept.format is not model.format:
        option = "--trust-code" if model.format is Format.SCRIPT else "--trust-pickle"
        raise ModelError(
            f"opening {model.source} runs code, and it was never opened here",
            remedy=f"if you know who made it, open it first: servefit backends {model.source} {option}",
        )


def check_metric_is_known(request: JobRequest) -> None:
    """Raise SpecError for a job whose metric is a Python function of the program that began it."""
    quality = request.precision.quality
    if quality is not None and quality.is_own_function:
        raise SpecError(
            "metric",
            quality.metric,
            "is a function, and nobody runs a function that a job of a shared database names",
            remedy="begin the job again here, or name one of servefit's own metrics",
        )
