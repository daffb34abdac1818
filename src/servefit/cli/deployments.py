"""The deployment that ``serve`` and ``export`` take: a recommendation of a job, or a model with a configuration."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from servefit.cli.completion import backend_names, job_names, one_of, profile_names
from servefit.cli.opening import InputsOption, PadOption, SaidOfInputs
from servefit.cli.options import (
    AllowEnvOption,
    BatchDependenceOption,
    SecretOption,
    StorageOption,
    TrustCodeOption,
    TrustOption,
)
from servefit.cli.output import warn
from servefit.cli.progress import showing_stage
from servefit.cli.signatures import with_parameters
from servefit.errors import SpecError
from servefit.option_panels import OUTPUT, SEARCH

if TYPE_CHECKING:
    from servefit.search.deployment.deployable import Deployable

DeployedJob = Annotated[
    str | None,
    typer.Argument(
        metavar="[JOB[/ID]]",
        autocompletion=job_names,
        help="A job, and one of its recommendations; the first without ID.",
    ),
]
DeployedModel = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A file, a folder or a .tar.gz, in place of a job.",
        rich_help_panel=SEARCH,
    ),
]
BackendOption = Annotated[
    str | None,
    typer.Option(
        "--backend",
        "-b",
        metavar="NAME",
        autocompletion=backend_names,
        help="With --model. Default: the library of the model.",
        rich_help_panel=SEARCH,
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        autocompletion=profile_names,
        help="With --model: instance profile. Default: all of this host.",
        rich_help_panel=SEARCH,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="With --model: worker processes. Default 1.", rich_help_panel=SEARCH),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="With --model: threads a worker. Default 1.", rich_help_panel=SEARCH),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="With --model: most requests joined into one call. Default 1.", rich_help_panel=SEARCH
    ),
]
DelayOption = Annotated[
    str | None,
    typer.Option(
        metavar="500us",
        help="With --model: how long the first request of a batch waits for others.",
        rich_help_panel=SEARCH,
    ),
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="NAME=VALUE",
        help="With --model: a variable for the workers. Repeatable.",
        rich_help_panel=SEARCH,
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        metavar="cpu|cuda",
        autocompletion=one_of("cpu", "cuda"),
        help="With --model: cpu or cuda. Default cpu.",
        rich_help_panel=SEARCH,
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the model in URLs. Default: like its file, without the suffix.",
        rich_help_panel=OUTPUT,
    ),
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
    """The options of what is deployed, None where they are not given. Each field is an option of the commands."""

    job: DeployedJob = None
    model: DeployedModel = None
    inputs: InputsOption = None
    pad: PadOption = None
    backend: BackendOption = None
    profile: ProfileOption = None
    workers: WorkersOption = None
    threads: ThreadsOption = None
    batch: BatchOption = None
    batch_delay: DelayOption = None
    env: EnvOption = None
    secret_env: SecretOption = None
    target: TargetOption = None
    storage: StorageOption = None
    allow_env: AllowEnvOption = None
    allow_batch_dependence: BatchDependenceOption = False
    trust_pickle: TrustOption = False
    trust_code: TrustCodeOption = False

    def deployable(self, *, quiet: bool) -> Deployable:
        """Return the deployment that the options ask for, compiled. Raises SpecError for options that contradict each
        other, and the errors of reading a job or compiling a model."""
        found = self._of_model(quiet=quiet) if self.job is None else self._of_job(self.job, quiet=quiet)
        for note in found.notes:
            warn(note)
        return found

    def _of_job(self, job: str, *, quiet: bool) -> Deployable:
        from servefit.search.deployment.deployable import deployable_of_job
        from servefit.search.request.job_request import shown_variable

        for name in _OF_MODELS:
            if (given := getattr(self, name)) not in (None, False):
                _check_no_path(job)
                shown = ",".join(map(shown_variable, given)) if isinstance(given, list) else str(given)
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
            trust = {"trust_pickle": self.trust_pickle, "trust_code": self.trust_code}
            model = SaidOfInputs.typed(self.inputs, pad=self.pad).opened(self.model, None, **trust)
            return deployable_of_model(model, deployment, **trust)


def with_deployment(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options of what is deployed, in place of its ``deployment``, which is made of them."""
    names = [field.name for field in fields(DeploymentOptions)]

    @functools.wraps(command)
    def run(**options: Any) -> None:
        deployment = DeploymentOptions(**{name: options.pop(name) for name in names})
        command(deployment=deployment, **options)

    hints = get_type_hints(DeploymentOptions, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(DeploymentOptions)
    ]
    return with_parameters(run, command, added=parameters, in_place_of="deployment")


def _environment(texts: Sequence[str], secret: Sequence[str]) -> dict[str, str]:
    """Return the variables that ``texts`` set, and those that are only named as ``secret`` with their values here."""
    from servefit.search.request.job_request import own_value

    given = dict(map(_variable, texts))
    return {**{name: own_value(name) for name in secret if name not in given}, **given}


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
