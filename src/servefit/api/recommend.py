"""``servefit.recommend``: the main job, in servefit's own words.

Its options are the keys of a job file, held against the same declaration (``JobConfig``) and refused in the same words.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import msgspec
from msgspec import UNSET

from servefit.api.job import Job
from servefit.api.notebook_progress import default_progress
from servefit.errors import SpecError
from servefit.keywords import with_named_keywords
from servefit.search.jobs.job import JobInterrupted, default_name
from servefit.search.jobs.lifecycle import run_job
from servefit.search.request.config_problems import checked_config
from servefit.search.request.config_schema import NO_OPTIONS, JobConfig

if TYPE_CHECKING:
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import JobRequest


class JobOptions(TypedDict, total=False):
    """The options of a job, for type checkers: one for each key of ``JobConfig`` that is an option, with the types that
    Python takes. Their meanings and defaults are in ``JobConfig``."""

    rows_per_request: int
    sla: str | Sequence[str] | Mapping[str, str]
    rate: str
    arrivals: str
    profile: str | Sequence[str]
    cloud: str | Sequence[str]
    backend: str | Sequence[str]
    env: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    secret_env: Sequence[str]
    batch: int | Sequence[int]
    batch_delay: int | str | Sequence[int | str]
    goal: str
    cost_weight: float
    phase: Sequence[Mapping[str, Any]]
    stairs: Mapping[str, Any]
    flat_invocations: str
    max_tests: int
    max_parallel_tests: int
    budget: str
    deploy: Literal["endpoint", "library"]
    http: bool
    wait: int | str
    name: str
    seed: int
    allow_noise: bool
    allow_batch_dependence: bool
    allow_precision: str | Sequence[str]
    max_deviation: float | str
    quality: str | PathLike[str] | Sequence[float] | Any
    metric: str
    quality_drop: float | str


def recommend(
    model: Any,
    *,
    payload: Any = None,
    request: JobRequest | None = None,
    storage: str | None = None,
    trust_pickle: bool = False,
    trust_code: bool = False,
    progress: Progress | None = None,
    **options: Unpack[JobOptions],
) -> Job:
    """Find what to deploy ``model`` on, by measuring it with every backend in every instance profile of this host.

    Blocks until the job is done. A job in which nothing meets the SLA returns a result and raises no error.

    Args:
        model: A path, a live xgboost, LightGBM or scikit-learn object, or a :class:`servefit.Model`.
        payload: Rows that are sent: a path, or an array of shape (rows, features). Drawn from the model where there
            is none.
        request: The whole request, in place of options other than ``wait``.
        storage: The database that keeps the job, such as "postgresql://user@server/jobs". By default one in the state
            folder.
        trust_pickle: Unpickle ``model``. Unpickling runs code: do it if you know who made it.
        trust_code: Run the script of ``model`` (code/inference.py), and measure that: do it if you know who made it.
        progress: A listener that is told of every event. By default a line under the cell of a notebook, and nothing
            elsewhere.
        **options: The keys of a job file, such as ``sla="p95<=10ms"``, ``rate="500/s"``, ``arrivals="bursts"``,
            ``goal="latency"``, ``profile=["local-1c"]``, ``cloud="aws"``, ``env={"OMP_NUM_THREADS": [1, 2]}``,
            ``budget="60s"``, ``max_tests=10``, ``deploy="library"``, ``allow_precision="int8"``,
            ``max_deviation=0.01``, ``wait=0``. None is as if it were not given. The
            page "Configuration" lists all of them.

    Returns:
        The job, with recommendations best first. It is kept, and can be had again with :func:`servefit.load_job`.

    Raises:
        SpecError: An option contradicts another or has an impossible value, or a name is not known.
        ModelError: The model or the payload cannot be read.
        StateError: The state folder cannot be written.
        StorageError: The database cannot be reached, or goes away.
        SlotTaken: Something else measured on this machine for longer than ``wait``.
        JobInterrupted: Ctrl-C once the job has begun, after any wait. It is a KeyboardInterrupt; its ``job``
            is what was found until then. Before that there is no job, and Ctrl-C is a plain KeyboardInterrupt.

    Example:
        ::

            job = sf.recommend("model.ubj", payload="payload.csv", sla="p95<=50ms", rate="100/s", budget="10s")
            print(job)
    """
    asked = job_config(options)
    if request is None:
        request = asked.request(asked.name or default_name(model))
    elif excess := [key for key, value in options.items() if value is not None and key != "wait"]:
        raise SpecError("request", None, "cannot be combined with options", remedy=f"leave out {', '.join(excess)}")
    try:
        job = run_job(
            model,
            payload,
            request,
            trust_pickle=trust_pickle,
            trust_code=trust_code,
            progress=progress or default_progress(),
            storage=storage,
            wait_s=asked.wait_s,
        )
    except JobInterrupted as interrupted:
        interrupted.job = Job.from_results(interrupted.job)
        raise
    return Job.from_results(job)


_SAID_ELSEWHERE = {
    **dict.fromkeys(("input", "inputs"), "say it of the model: servefit.Model.load(..., inputs={...})"),
    **dict.fromkeys(("size", "sizes"), "say it of the model: servefit.Model.load(..., sizes={...})"),
    "pad": "say it of the model: servefit.Model.load(..., pad=...)",
    **{
        name: f"say it of the payload: servefit.Bodies(..., {name}=...)"
        for name in ("content_type", "accept", "each_line")
    },
}
"""Keys of a job file and of the command line beside the options, and the place that Python has for them."""


def job_config(options: Mapping[str, Any]) -> JobConfig:
    """Return ``options`` as a config, where lists may be any sequences.

    Raises:
        SpecError: An option is not known, or its value is none that it can have.
    """
    document = {key: _plain(value) for key, value in options.items() if value is not None}
    if reserved := sorted(document.keys() & {*NO_OPTIONS, *_SAID_ELSEWHERE}):
        raise SpecError(reserved[0], None, "is no option of a job", remedy=_SAID_ELSEWHERE.get(reserved[0]))
    try:
        return checked_config(document)
    except SpecError as error:
        raise SpecError(error.field or "option", error.value, error.problem, remedy=error.remedy) from error


def _plain(value: Any) -> Any:
    """Return ``value`` with any mapping or sequence in it as a dictionary or a list."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, PathLike):
        return str(value)
    if hasattr(value, "tolist"):  # an array, or a column of a table
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


_DEFAULTS = {
    field.name: None if field.default is UNSET else field.default for field in msgspec.structs.fields(JobConfig)
}

recommend.__signature__ = with_named_keywords(inspect.signature(recommend), JobOptions, _DEFAULTS)  # type: ignore[attr-defined]
