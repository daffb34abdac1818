"""The deployment that ``serve`` and ``export`` take: a recommendation of a job, or a model with a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.cli.completion import job_names
from servefit.cli.job_options import of_job
from servefit.cli.measuring import BatchDependenceOption
from servefit.cli.opening import InputsOption, PadOption, SaidOfInputs
from servefit.cli.options import AllowEnvOption, StorageOption, TrustOptions
from servefit.cli.output import warn
from servefit.cli.progress import showing_stage
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import OUTPUT, SEARCH

if TYPE_CHECKING:
    from servefit.search.deployment.deployable import Deployable

NameOption = Annotated[
    str | None, option("Name of the model in URLs. Default: like its file, without the suffix.", OUTPUT, "NAME")
]

_OF_MODELS = (
    "model", "inputs", "pad", "backend", "profile", "workers", "threads", "batch", "batch_delay", "env",
    "secret_env", "target", "allow_batch_dependence",
)  # fmt: skip
"""Options that are for a model alone: a job has their values already."""


def _check_no_path(job: str) -> None:
    """Raise SpecError for the path of a model in the place of a job."""
    if Path(job).exists():
        raise SpecError("job", job, "is a path, and not a job", remedy=f"name a model with --model {quote(job)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentOptions:
    """The options of what is deployed, None where they are not given."""

    job: Annotated[
        str | None,
        typer.Argument(
            metavar="[JOB[/ID]]",
            autocompletion=job_names,
            help="A job, and one of its recommendations; the first without ID.",
        ),
    ] = None
    model: Annotated[Path | None, option("A file, a folder or a .tar.gz, in place of a job.", SEARCH, "MODEL")] = None
    inputs: InputsOption = None
    pad: PadOption = None
    backend: Annotated[str | None, of_job("backend", "With --model. Default: the library of the model.")] = None
    profile: Annotated[str | None, of_job("profile", "With --model: instance profile. Default: all of this host.")] = (
        None
    )
    workers: Annotated[int | None, option("With --model: worker processes. Default 1.", SEARCH, "N")] = None
    threads: Annotated[int | None, option("With --model: threads a worker. Default 1.", SEARCH, "N")] = None
    batch: Annotated[
        int | None, option("With --model: most requests joined into one call. Default 1.", SEARCH, "N")
    ] = None
    batch_delay: Annotated[
        str | None,
        option("With --model: how long the first request of a batch waits for others.", SEARCH, "500us"),
    ] = None
    env: Annotated[
        list[str] | None, option("With --model: a variable for the workers. Repeatable.", SEARCH, "NAME=VALUE")
    ] = None
    secret_env: Annotated[list[str] | None, of_job("secret_env")] = None
    target: Annotated[str | None, option("With --model: cpu or cuda. Default cpu.", SEARCH, "cpu|cuda")] = None
    storage: StorageOption = None
    allow_env: AllowEnvOption = None
    allow_batch_dependence: BatchDependenceOption = False
    trust: TrustOptions

    def deployable(self, *, quiet: bool) -> Deployable:
        """Return the deployment of these options, compiled. Raises SpecError for options that contradict each other,
        and the errors of reading a job or compiling a model."""
        deployable = self._of_model(quiet=quiet) if self.job is None else self._of_job(self.job, quiet=quiet)
        for note in deployable.notes:
            warn(note)
        return deployable

    def _of_job(self, job: str, *, quiet: bool) -> Deployable:
        from servefit.search.deployment.deployable import deployable_of_job
        from servefit.search.request.job_request import shown_variable

        for name in _OF_MODELS:
            if (value := getattr(self, name)) not in (None, False):
                _check_no_path(job)
                shown = ",".join(map(shown_variable, value)) if isinstance(value, list) else str(value)
                raise SpecError(
                    "input" if name == "inputs" else name,
                    shown,
                    f"cannot be said of job {job}, whose recommendation says it already",
                    remedy="give a model with --model in place of the job to choose for yourself",
                )
        with showing_stage(f"reading job {job}", quiet=quiet):
            try:
                return deployable_of_job(job, storage=self.storage, allowed=self.allow_env or ())
            except SpecError:
                _check_no_path(job)
                raise

    def _of_model(self, *, quiet: bool) -> Deployable:
        from servefit.profiler.procedures.prepare import Deployment
        from servefit.quantities import parse_delay_us
        from servefit.search.deployment.deployable import deployable_of_model

        if self.model is None:
            raise SpecError("job", None, "is missing", remedy="name a job, or a model with --model")
        if self.storage is not None:
            raise SpecError("storage", self.storage, "is where jobs are kept, and no job is named")
        if self.allow_env is not None:
            raise SpecError("allow_env", self.allow_env[0], "is for what a job sets, and no job is named")
        deployment = Deployment(
            backend=self.backend,
            profile=self.profile,
            workers=1 if self.workers is None else self.workers,
            threads=1 if self.threads is None else self.threads,
            batch=1 if self.batch is None else self.batch,
            batch_delay_us=0 if self.batch_delay is None else parse_delay_us("batch_delay", self.batch_delay),
            environment=_environment(self.env or (), self.secret_env or ()),
            secret_env=self.secret_env or (),
            target=self.target or "cpu",
            allow_batch_dependence=self.allow_batch_dependence,
        )
        with showing_stage(f"compiling {self.model.name}", quiet=quiet):
            model = SaidOfInputs.typed(self.inputs, pad=self.pad).opened(self.model, None, self.trust)
            return deployable_of_model(model, deployment, **asdict(self.trust))


def _environment(texts: Sequence[str], secret: Sequence[str]) -> dict[str, str]:
    """Return the variables set by ``texts``, and those named as ``secret``, with their values in this process."""
    from servefit.search.request.job_request import own_value

    variables = dict(map(_variable, texts))
    return {**{name: own_value(name) for name in secret if name not in variables}, **variables}


def _variable(text: str) -> tuple[str, str]:
    """Parse "NAME=VALUE". Raises SpecError, also for the two variables that have options of their own."""
    from servefit.search.request.job_request import (
        THREADS_VARIABLE,
        WORKERS_VARIABLE,
        EnvironmentRange,
        plain_name,
        shown_variable,
    )

    name, equals, value = text.partition("=")
    if not equals:
        raise SpecError("env", shown_variable(text), "does not look like NAME=VALUE")
    checked = EnvironmentRange(variable=plain_name(name.strip()), values=(value,))
    if checked.counts:
        option = {THREADS_VARIABLE: "--threads", WORKERS_VARIABLE: "--workers"}[checked.variable]
        raise SpecError("env", text, "has an option of its own", remedy=f"say {option} {value}")
    return checked.variable, value
