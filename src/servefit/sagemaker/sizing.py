"""``right_size``, with the parameter names of the SageMaker Python SDK.

The parameters are translated into a JobRequest, or, for a running endpoint, into a LoadRequest, which ``search``
carries out. The types of the SDK are in ``sdk_types``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from servefit.api.job import Job
from servefit.errors import SpecError
from servefit.field_types import check_type
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


@overload
def right_size(
    model: Any,
    *,
    sample_payload: Any = ...,
    sample_payload_url: str | None = ...,
    supported_content_types: Sequence[str] | None = ...,
    supported_instance_types: Sequence[str] | None = ...,
    clouds: Sequence[str] | None = ...,
    job_name: str | None = ...,
    framework: str | None = ...,
    job_duration_in_seconds: float | None = ...,
    hyperparameter_ranges: Sequence[Mapping[str, Any]] | None = ...,
    secret_env: Sequence[str] | None = ...,
    phases: Sequence[Phase] | None = ...,
    stairs: Stairs | None = ...,
    traffic_type: str | None = ...,
    max_invocations: float | None = ...,
    arrivals: str = ...,
    flat_invocations: str = ...,
    model_latency_thresholds: Sequence[ModelLatencyThreshold] | None = ...,
    max_tests: int | None = ...,
    max_parallel_tests: int = ...,
    backends: Sequence[str] | None = ...,
    batch_sizes: Sequence[int] | None = ...,
    batch_delays_us: Sequence[int] | None = ...,
    goal: str = ...,
    cost_weight: float = ...,
    storage: str | None = ...,
    rows_per_request: int = ...,
    seed: int = ...,
    trust_pickle: bool = ...,
    trust_code: bool = ...,
    allow_noise: bool = ...,
    allow_batch_dependence: bool = ...,
    precision: PrecisionLimits | None = ...,
    deploy: Deployed | None = ...,
    over_http: bool = ...,
    wait_s: float | None = ...,
    log_level: str | None = ...,
    progress: Progress | None = ...,
) -> Job: ...


@overload
def right_size(
    *,
    endpoint: str,
    sample_payload: Any = ...,
    sample_payload_url: str | None = ...,
    supported_content_types: Sequence[str] | None = ...,
    job_duration_in_seconds: float | None = ...,
    phases: Sequence[Phase] | None = ...,
    stairs: Stairs | None = ...,
    traffic_type: str | None = ...,
    max_invocations: float | None = ...,
    arrivals: str = ...,
    flat_invocations: str = ...,
    model_latency_thresholds: Sequence[ModelLatencyThreshold] | None = ...,
    rows_per_request: int = ...,
    seed: int = ...,
    allow_noise: bool = ...,
    allow_remote: bool = ...,
    wait_s: float | None = ...,
    log_level: str | None = ...,
    progress: Progress | None = ...,
) -> LoadTest: ...


def right_size(
    model: Any = None,
    *,
    endpoint: str | None = None,
    sample_payload: Any = None,
    sample_payload_url: str | None = None,
    supported_content_types: Sequence[str] | None = None,
    supported_instance_types: Sequence[str] | None = None,
    clouds: Sequence[str] | None = None,
    job_name: str | None = None,
    framework: str | None = None,
    job_duration_in_seconds: float | None = None,
    hyperparameter_ranges: Sequence[Mapping[str, Any]] | None = None,
    secret_env: Sequence[str] | None = None,
    phases: Sequence[Phase] | None = None,
    stairs: Stairs | None = None,
    traffic_type: str | None = None,
    max_invocations: float | None = None,
    arrivals: str = USUAL.arrivals,
    flat_invocations: str = USUAL.flat_invocations,
    model_latency_thresholds: Sequence[ModelLatencyThreshold] | None = None,
    max_tests: int | None = None,
    max_parallel_tests: int = USUAL.max_parallel_tests,
    backends: Sequence[str] | None = None,
    batch_sizes: Sequence[int] | None = None,
    batch_delays_us: Sequence[int] | None = None,
    goal: str = USUAL.goal,
    cost_weight: float = USUAL.cost_weight,
    storage: str | None = None,
    rows_per_request: int = USUAL.rows_per_request,
    seed: int = USUAL.seed,
    trust_pickle: bool = False,
    trust_code: bool = False,
    allow_noise: bool = USUAL.allow_noise,
    allow_batch_dependence: bool = USUAL.allow_batch_dependence,
    precision: PrecisionLimits | None = None,
    deploy: Deployed | None = None,
    over_http: bool = USUAL.over_http,
    wait_s: float | None = None,
    log_level: str | None = None,
    progress: Progress | None = None,
    allow_remote: bool = False,
) -> Job | LoadTest:
    """Find the best deployment for ``model``, or load a running ``endpoint``, by measuring. Blocks until the job is
    done.

    ``model`` is a path, a live xgboost, LightGBM or scikit-learn object, or a :class:`~servefit.backends.model.Model`;
    ``sample_payload`` is a path or an array of shape (rows, features); without it, rows are drawn from the model.
    ``max_invocations`` is the rate to be served, per minute. With ``flat_invocations`` "Stop", traffic in ``phases`` or
    ``stairs`` ends when more users do not raise the throughput; "Continue" lets it go on. ``hyperparameter_ranges`` are
    dictionaries from environment variable to :class:`CategoricalParameter`; "instance_types" in a dictionary names the
    profiles that it is for. Values of variables that look like secrets, or are named in ``secret_env``, are shown and
    stored as "***"; the value of a secret that no range names is taken from the environment of this process. Without
    traffic, thresholds, ranges and limits the type of the job is Default, else Advanced. With ``allow_noise``,
    disturbed measurements get a verdict too. With ``allow_batch_dependence``, requests are joined even if that changes
    their predictions. All figures are of what ``deploy`` says: the endpoint of ``servefit serve``, or the model as a
    library. With ``over_http``, the winner of the library is measured once more as an endpoint, if a CPU is left for a
    client; without, and without ``deploy``, the library is deployed. ``cost_weight`` is the weight of cost against
    latency if ``goal`` is "balanced". The job is stored in the database at ``storage``, by default in the state folder.
    While something else measures on this machine, the job waits, for at most ``wait_s`` (None: without limit).

    ``endpoint`` is the URL of a server that has SageMaker's container contract or the Open Inference Protocol, or takes
    JSON, on this machine unless ``allow_remote``. The result is a
    :class:`~servefit.search.endpoints.load_result.LoadTest`: the most invocations, found with traffic in phases or with
    a growing number of users, and whether ``model_latency_thresholds``, which apply to the response time at the client,
    hold at ``max_invocations``; without a rate, the highest rate at which they hold. Parameters that are only for a
    model are refused.

    If nothing meets the limits, the job returns a result and raises no error.

    Args:
        model: A path, a live object, or a Model; None if ``endpoint`` is given.
        endpoint: The URL of a running endpoint, instead of a model.
        sample_payload: A path, or an array of shape (rows, features); for a script, a path or Bodies.
        sample_payload_url: The same as an s3:// or file:// URL, of an object of ``servefit api`` or a file.
        supported_content_types: Changes nothing: the content of the payload tells.
        supported_instance_types: Names of instance profiles; None: those of this host, or of ``clouds``.
        clouds: Clouds whose shapes to consider, "aws", "gcp" or "azure", as far as they fit this host.
        job_name: A name for the job.
        framework: Changes nothing: the content of the model tells.
        job_duration_in_seconds: Seconds for the whole job.
        hyperparameter_ranges: Environment variables to vary.
        secret_env: Variables whose values are never shown.
        phases: Closed-loop traffic in phases.
        stairs: Closed-loop traffic whose users grow step by step.
        traffic_type: "PHASES" or "STAIRS", whichever is given.
        max_invocations: The rate to be served, per minute.
        arrivals: How requests arrive at the rate, such as "poisson", "sine:period=4s" or "replay:access.log".
        flat_invocations: "Stop" or "Continue".
        model_latency_thresholds: Limits on percentiles of the latency.
        max_tests: Most load tests to run.
        max_parallel_tests: Most load tests at the same time.
        backends: Names of backends; None: all.
        batch_sizes: Values to try for the most requests in a call.
        batch_delays_us: Values to try for how long the first request of a batch may wait, in microseconds.
        goal: What to optimise: "cost", "latency", "throughput", "balanced", "energy", or an objective of a package.
        cost_weight: The weight of cost against latency if ``goal`` is "balanced".
        storage: The database that stores the job.
        rows_per_request: Rows of the payload in one request.
        seed: Seed of everything random.
        trust_pickle: Unpickle ``model``, which runs code.
        trust_code: Run the script of ``model`` (code/inference.py), and measure that.
        allow_noise: Give disturbed measurements a verdict too.
        allow_batch_dependence: Join requests even if that changes their predictions.
        precision: What is allowed of backends that predict less exactly; None: nothing.
        deploy: What is deployed: "endpoint", asked over HTTP, or "library", called in process. By default the endpoint.
        over_http: With the library: measure the winner over HTTP too.
        wait_s: How long to wait while something else measures on this machine; None: without limit.
        log_level: "Verbose", or "Quiet" for no line under the cell of a notebook.
        progress: A listener that is told of every event; by default a line under the cell of a notebook.
        allow_remote: Load an endpoint on another machine.

    Returns:
        The job, or, for an endpoint, the load test.

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
        thresholds=thresholds_from_sdk(model_latency_thresholds),
        rate_per_s=None if max_invocations is None else number("max_invocations", max_invocations) / 60,
    )
    traffic = traffic_from_sdk(phases, stairs)
    check_told(
        supported_content_types=supported_content_types,
        framework=framework,
        traffic_type=traffic_type,
        phases=phases,
        stairs=stairs,
    )
    payload = payload_of(sample_payload, sample_payload_url)
    listening = listener(log_level, progress)
    duration_s = None if job_duration_in_seconds is None else number("job_duration_in_seconds", job_duration_in_seconds)
    if endpoint is not None:
        check_type("endpoint", endpoint, str)
        refuse_for_endpoints(
            model=model,
            supported_instance_types=supported_instance_types,
            clouds=clouds,
            job_name=job_name,
            framework=framework,
            hyperparameter_ranges=hyperparameter_ranges,
            secret_env=secret_env,
            max_tests=max_tests,
            max_parallel_tests=max_parallel_tests,
            backends=backends,
            batch_sizes=batch_sizes,
            batch_delays_us=batch_delays_us,
            goal=goal,
            cost_weight=cost_weight,
            storage=storage,
            trust_pickle=trust_pickle,
            trust_code=trust_code,
            allow_batch_dependence=allow_batch_dependence,
            precision=precision,
            deploy=deploy,
            over_http=over_http,
        )
        load = LoadRequest(
            sla=sla,
            arrivals=arrivals,
            phases=traffic,
            flat_invocations=parse_flat_invocations(flat_invocations),
            finds_most=True,
            duration_s=duration_s,
            rows_per_request=whole("rows_per_request", rows_per_request),
            timeout_s=max([TIMEOUT_S, *(2 * threshold.limit_ms / 1000 for threshold in sla.thresholds)]),
            seed=whole("seed", seed),
            allow_noise=allow_noise,
        )
        return run_load(
            endpoint,
            payload,
            load,
            allow_remote=allow_remote,
            wait_s=wait_s,
            progress=listening,
        )
    if model is None:
        raise SpecError("model", None, "is not given", remedy="give a model, or endpoint= for one that runs already")
    model = located("model", model)
    if allow_remote:
        raise SpecError("allow_remote", allow_remote, "is for an endpoint, and nothing is sent anywhere")
    request = JobRequest(
        name=job_name or default_name(model),
        sla=sla,
        profiles=listed("supported_instance_types", supported_instance_types, str),
        clouds=parse_clouds(listed("clouds", clouds, str)),
        backends=listed("backends", backends, str),
        environment=with_secrets(ranges_from_sdk(hyperparameter_ranges), listed("secret_env", secret_env, str)),
        batch_sizes=tuple(whole("batch_sizes", size) for size in listed("batch_sizes", batch_sizes, object)),
        batch_delays_us=tuple(
            whole("batch_delays_us", delay) for delay in listed("batch_delays_us", batch_delays_us, object)
        ),
        phases=traffic,
        flat_invocations=parse_flat_invocations(flat_invocations),
        goal=parse_goal(goal),
        cost_weight=number("cost_weight", cost_weight),
        budget_s=duration_s,
        max_tests=None if max_tests is None else whole("max_tests", max_tests),
        max_parallel_tests=whole("max_parallel_tests", max_parallel_tests),
        rows_per_request=whole("rows_per_request", rows_per_request),
        seed=whole("seed", seed),
        allow_noise=allow_noise,
        allow_batch_dependence=allow_batch_dependence,
        precision=precision or USUAL.precision,
        deploy=deploy,
        over_http=over_http,
        arrivals=arrivals,
    )
    try:
        job = run_job(
            model,
            payload,
            request,
            trust_pickle=trust_pickle,
            trust_code=trust_code,
            progress=listening,
            storage=storage,
            wait_s=wait_s,
        )
    except JobInterrupted as interrupted:
        interrupted.job = Job.from_results(interrupted.job)
        raise
    return Job.from_results(job)


def refuse_for_endpoints(**given: object) -> None:
    """Raise SpecError for a parameter of :func:`right_size` that is only for a model and differs from its default.
    ``given`` has the value of each."""
    parameters = inspect.signature(right_size).parameters
    for field, value in given.items():
        default = parameters[field].default
        if value is not default and value != default:
            raise SpecError(field, value, "cannot be combined with an endpoint, which is as it is")
