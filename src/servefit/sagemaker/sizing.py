"""``right_size``, with the parameter names of the SageMaker Python SDK.

The parameters are translated into a JobRequest, or, for a running endpoint, into a LoadRequest, which ``search``
carries out. The types of the SDK are in ``sdk_types``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from servefit.api.job import Job
from servefit.errors import SpecError
from servefit.field_types import check_type
from servefit.keywords import with_keywords
from servefit.profiler.defaults import TIMEOUT_S
from servefit.sagemaker.sdk_names import check_told, listener, located, payload_of
from servefit.sagemaker.sdk_types import (
    ModelLatencyThreshold,
    Phase,
    Stairs,
    listed,
    number,
    ranges_from_sdk,
    thresholds_from_sdk,
    traffic_from_sdk,
    whole,
)
from servefit.search.endpoints.load import run_load
from servefit.search.jobs.job import JobInterrupted, default_name
from servefit.search.jobs.lifecycle import run_job
from servefit.search.request.goals import parse_goal
from servefit.search.request.job_request import USUAL, JobRequest, parse_clouds, parse_flat_invocations, with_secrets
from servefit.search.request.load_request import LoadRequest
from servefit.search.request.sla import Sla

if TYPE_CHECKING:
    from servefit.backends.quality.limits import PrecisionLimits
    from servefit.search.endpoints.load_result import LoadTest
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import Deployed


class SharedParameters(TypedDict, total=False):
    """The parameters of :func:`right_size`, for a model and for an endpoint."""

    sample_payload: Any
    sample_payload_url: str | None
    supported_content_types: Sequence[str] | None
    job_duration_in_seconds: float | None
    phases: Sequence[Phase] | None
    stairs: Stairs | None
    traffic_type: str | None
    max_invocations: float | None
    arrivals: str
    flat_invocations: str
    model_latency_thresholds: Sequence[ModelLatencyThreshold] | None
    rows_per_request: int
    seed: int
    allow_noise: bool
    wait_s: float | None
    log_level: str | None
    progress: Progress | None


class ModelParameters(SharedParameters, total=False):
    """Those for a model: what it has beside the shared ones is refused for an endpoint."""

    supported_instance_types: Sequence[str] | None
    clouds: Sequence[str] | None
    job_name: str | None
    framework: str | None
    hyperparameter_ranges: Sequence[Mapping[str, Any]] | None
    secret_env: Sequence[str] | None
    max_tests: int | None
    max_parallel_tests: int
    backends: Sequence[str] | None
    batch_sizes: Sequence[int] | None
    batch_delays_us: Sequence[int] | None
    goal: str
    cost_weight: float
    storage: str | None
    trust_pickle: bool
    trust_code: bool
    allow_batch_dependence: bool
    precision: PrecisionLimits | None
    deploy: Deployed | None
    over_http: bool


class EndpointParameters(SharedParameters, total=False):
    """Those for an endpoint."""

    allow_remote: bool


class Parameters(ModelParameters, EndpointParameters, total=False):
    """All of them."""


_USUAL = (
    "arrivals", "flat_invocations", "rows_per_request", "seed", "allow_noise", "max_parallel_tests", "goal",
    "cost_weight", "allow_batch_dependence", "over_http",
)  # fmt: skip
"""The parameters whose defaults are those of a JobRequest. All others are None, or False, without a value."""

DEFAULTS = {
    **{name: getattr(USUAL, name) for name in _USUAL},
    **dict.fromkeys(("trust_pickle", "trust_code", "allow_remote"), False),
}


@overload
def right_size(model: Any, **options: Unpack[ModelParameters]) -> Job: ...


@overload
def right_size(*, endpoint: str, **options: Unpack[EndpointParameters]) -> LoadTest: ...


@with_keywords(Parameters, DEFAULTS)
def right_size(model: Any = None, *, endpoint: str | None = None, **options: Unpack[Parameters]) -> Job | LoadTest:
    """Find the best deployment for ``model``, or load a running ``endpoint``, by measuring. Blocks until the job is
    done. If nothing meets the limits, the job returns a result and raises no error.

    Without traffic, thresholds, ranges and limits the type of the job is Default, else Advanced. For an endpoint,
    parameters that are only for a model are refused.

    Args:
        model: A path, a live xgboost, LightGBM or scikit-learn object, or a :class:`~servefit.backends.model.Model`.
        endpoint: Instead of a model: the URL of a running server, on this machine unless ``allow_remote``, that has
            SageMaker's container contract or the Open Inference Protocol, or takes JSON.
        sample_payload: A path, or an array of shape (rows, features); for a script, a path or Bodies. None: rows are
            drawn from the model.
        sample_payload_url: The same as an s3:// or file:// URL, of an object of ``servefit api`` or a file.
        supported_content_types: Changes nothing: the content of the payload tells.
        supported_instance_types: Names of instance profiles; None: those of this host, or of ``clouds``.
        clouds: Clouds whose shapes to consider, "aws", "gcp" or "azure", as far as they fit this host.
        job_name: A name for the job.
        framework: Changes nothing: the content of the model tells.
        job_duration_in_seconds: Seconds for the whole job.
        hyperparameter_ranges: Environment variables to vary: dictionaries from variable to
            :class:`CategoricalParameter`; "instance_types" in one names the profiles that it is for.
        secret_env: Variables whose values are shown and stored as "***", as are those that look like secrets. The value
            of one that no range names is taken from the environment of this process.
        phases: Closed-loop traffic in phases.
        stairs: Closed-loop traffic whose users grow step by step.
        traffic_type: "PHASES" or "STAIRS", whichever is given.
        max_invocations: The rate to be served, per minute.
        arrivals: How requests arrive at the rate, such as "poisson", "sine:period=4s" or "replay:access.log".
        flat_invocations: "Stop" ends ``phases`` or ``stairs`` when more users do not raise the throughput; "Continue"
            lets them go on.
        model_latency_thresholds: Limits on percentiles of the latency; of an endpoint, of the response time at the
            client.
        max_tests: Most load tests to run.
        max_parallel_tests: Most load tests at the same time.
        backends: Names of backends; None: all.
        batch_sizes: Values to try for the most requests in a call.
        batch_delays_us: Values to try for how long the first request of a batch may wait, in microseconds.
        goal: What to optimise: "cost", "latency", "throughput", "balanced", "energy", or an objective of a package.
        cost_weight: The weight of cost against latency if ``goal`` is "balanced".
        storage: The database that stores the job; None: one in the state folder.
        rows_per_request: Rows of the payload in one request.
        seed: Seed of everything random.
        trust_pickle: Unpickle ``model``, which runs code.
        trust_code: Run the script of ``model`` (code/inference.py), and measure that.
        allow_noise: Give disturbed measurements a verdict too.
        allow_batch_dependence: Join requests even if that changes their predictions.
        precision: What is allowed of backends that predict less exactly; None: nothing.
        deploy: What is deployed, and all figures are of: "endpoint", that of ``servefit serve``, asked over HTTP, or
            "library", called in process. By default the endpoint; the library if ``over_http`` is False.
        over_http: With the library: measure the winner as an endpoint too, if a CPU is left for a client.
        wait_s: How long to wait while something else measures on this machine; None: without limit.
        log_level: "Verbose", or "Quiet" for no line under the cell of a notebook.
        progress: A listener that is told of every event; by default a line under the cell of a notebook.
        allow_remote: Load an endpoint on another machine.

    Returns:
        The job. For an endpoint the :class:`~servefit.search.endpoints.load_result.LoadTest`: the most invocations,
        found with traffic in phases or with a growing number of users, and whether the thresholds hold at
        ``max_invocations``; without a rate, the highest rate at which they hold.

    Raises:
        SpecError: A parameter contradicts another, has an impossible value, or names something that is not known.
        ModelError: The model or the payload cannot be read.
        StateError: The state folder cannot be written.
        StorageError: The database cannot be reached, or goes away.
        MeasurementError: The endpoint answers nothing.
        SlotTaken: Something else measured on this machine for longer than ``wait_s``.
        JobInterrupted: Ctrl-C once the job has begun, after any wait. It is a KeyboardInterrupt; its ``job``
            has the results until then. Before that there is no job, and Ctrl-C is a plain KeyboardInterrupt.

    Example:
        ::

            job = sf.right_size("model.ubj", sample_payload="payload.csv", job_duration_in_seconds=10)
            print(job)
    """
    sla = Sla(
        thresholds=thresholds_from_sdk(options["model_latency_thresholds"]),
        rate_per_s=None if (rate := options["max_invocations"]) is None else number("max_invocations", rate) / 60,
    )
    traffic = traffic_from_sdk(options["phases"], options["stairs"])
    check_told(options)
    payload = payload_of(options["sample_payload"], options["sample_payload_url"])
    listening = listener(options["log_level"], options["progress"])
    seconds = options["job_duration_in_seconds"]
    duration_s = None if seconds is None else number("job_duration_in_seconds", seconds)
    if endpoint is not None:
        check_type("endpoint", endpoint, str)
        _refuse_for_endpoints({"model": model, **options})
    elif model is None:
        raise SpecError("model", None, "is not given", remedy="give a model, or endpoint= for one that runs already")
    else:
        model = located("model", model)
        if options["allow_remote"]:
            raise SpecError("allow_remote", options["allow_remote"], "is for an endpoint, and nothing is sent anywhere")
    shared: dict[str, Any] = {
        "sla": sla,
        "arrivals": options["arrivals"],
        "phases": traffic,
        "flat_invocations": parse_flat_invocations(options["flat_invocations"]),
        "rows_per_request": whole("rows_per_request", options["rows_per_request"]),
        "seed": whole("seed", options["seed"]),
        "allow_noise": options["allow_noise"],
    }
    if endpoint is not None:
        timeout_s = max([TIMEOUT_S, *(2 * threshold.limit_ms / 1000 for threshold in sla.thresholds)])
        load = LoadRequest(**shared, finds_most=True, duration_s=duration_s, timeout_s=timeout_s)
        remote, wait_s = options["allow_remote"], options["wait_s"]
        return run_load(endpoint, payload, load, allow_remote=remote, wait_s=wait_s, progress=listening)
    try:
        job = run_job(
            model,
            payload,
            JobRequest(**shared, budget_s=duration_s, **_of_a_job(model, options)),
            trust_pickle=options["trust_pickle"],
            trust_code=options["trust_code"],
            progress=listening,
            storage=options["storage"],
            wait_s=options["wait_s"],
        )
    except JobInterrupted as interrupted:
        interrupted.job = Job.from_results(interrupted.job)
        raise
    return Job.from_results(job)


def _of_a_job(model: Any, options: Parameters) -> dict[str, Any]:
    """Return the fields of a JobRequest that a request for an endpoint does not have. Raises SpecError."""
    ranges = ranges_from_sdk(options["hyperparameter_ranges"])
    delays = listed("batch_delays_us", options["batch_delays_us"], object)
    most = options["max_tests"]
    return {
        "name": options["job_name"] or default_name(model),
        "profiles": listed("supported_instance_types", options["supported_instance_types"], str),
        "clouds": parse_clouds(listed("clouds", options["clouds"], str)),
        "backends": listed("backends", options["backends"], str),
        "environment": with_secrets(ranges, listed("secret_env", options["secret_env"], str)),
        "batch_sizes": tuple(
            whole("batch_sizes", size) for size in listed("batch_sizes", options["batch_sizes"], object)
        ),
        "batch_delays_us": tuple(whole("batch_delays_us", delay) for delay in delays),
        "goal": parse_goal(options["goal"]),
        "cost_weight": number("cost_weight", options["cost_weight"]),
        "max_tests": None if most is None else whole("max_tests", most),
        "max_parallel_tests": whole("max_parallel_tests", options["max_parallel_tests"]),
        "allow_batch_dependence": options["allow_batch_dependence"],
        "precision": options["precision"] or USUAL.precision,
        "deploy": options["deploy"],
        "over_http": options["over_http"],
    }


def _refuse_for_endpoints(parameters: Mapping[str, object]) -> None:
    """Raise SpecError for a parameter that is only for a model and differs from its default."""
    for field, value in parameters.items():
        default = DEFAULTS.get(field)
        if field not in EndpointParameters.__annotations__ and value is not default and value != default:
            raise SpecError(field, value, "cannot be combined with an endpoint, which is as it is")
