"""From a model and the description of a deployment to what workers are started with."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import ceil, isinf
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from servefit.backends.quality.limits import PrecisionLimits
from servefit.backends.types import Knob, KnobValue, Settings, Target
from servefit.backends.variables.secret import hidden_environment
from servefit.checks import check_local
from servefit.errors import CorruptModel, PayloadMismatch, SpecError
from servefit.field_types import check_types
from servefit.profiler.defaults import MIN_COMPILING_S, ROWS_PER_REQUEST, SEED
from servefit.profiler.drivers.inprocess.workers import check_calls, check_configuration, check_counts
from servefit.profiler.drivers.start_driver import endpoint_for, workers_for
from servefit.profiler.machine.cpus import choose_cpus, client_cpus
from servefit.profiler.record.types import Configuration
from servefit.showing import shown
from servefit.time_limit import Budget, time_left_s, within

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from servefit.backends.compilation import Compilation
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import DriverName


TIMES_ESTIMATE, MIN_COMPILED_BYTES_PER_S = 10.0, 2e6
"""Where nobody gives a budget, compiling and checking a model may take MIN_COMPILING_S, and beside that so many times
its estimate, and a second for so much of its file. Chosen, not measured: several times what a busy machine takes."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The description of how a model is to be served, as a person gives it.

    Without ``backend`` it is the model's own library; without ``profile`` the whole of this host. ``batch`` is the most
    requests joined in a call, ``batch_delay_us`` how long the first of them waits for others; where the predictions of
    the model depend on what else is in the call, several are joined only with ``allow_batch_dependence``.
    ``environment`` is set for the workers, ``options`` are knobs of the backend. Values of variables that look like
    secrets, or are named in ``secret_env``, are hidden: nothing shows or keeps them. ``precision`` says what is allowed
    of a backend that predicts less exactly.

    Example:
        ::

            two = sf.Deployment(backend="onnxruntime", workers=2, environment={"OMP_WAIT_POLICY": "PASSIVE"})
            print(sf.profile("model.ubj", two, duration_s=1).summary.throughput_per_s)
    """

    backend: str | None = None
    profile: str | None = None
    threads: int = 1
    workers: int = 1
    batch: int = 1
    batch_delay_us: int = 0
    allow_batch_dependence: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, KnobValue] = field(default_factory=dict)
    target: Target | str = Target.CPU
    secret_env: Collection[str] = ()
    precision: PrecisionLimits = PrecisionLimits()

    def __post_init__(self) -> None:
        check_types(self, hidden=("environment",))
        check_counts(self.workers, self.threads)
        check_calls(1, self.batch, self.batch_delay_us)
        object.__setattr__(self, "environment", hidden_environment(self.environment, self.secret_env))


class DeploymentFields(TypedDict, total=False):
    """The fields of a Deployment, as keywords of functions."""

    backend: str | None
    profile: str | None
    threads: int
    workers: int
    batch: int
    batch_delay_us: int
    allow_batch_dependence: bool
    environment: Mapping[str, str] | None
    secret_env: Collection[str]
    options: Mapping[str, KnobValue] | None
    target: Target | str
    precision: PrecisionLimits | None


class Requests(TypedDict, total=False):
    """Keywords about the requests that are sent, and about what may be run of a model to answer them."""

    payload: Any
    rows_per_request: int
    seed: int
    trust_pickle: bool
    trust_code: bool


REQUEST_DEFAULTS = {"rows_per_request": ROWS_PER_REQUEST, "seed": SEED, "trust_pickle": False, "trust_code": False}


@shown("model", "configuration", "profile")
@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that a measurement takes. ``profile`` is the instance that is emulated."""

    model: Model
    compilation: Compilation
    payload: Payload
    profile: InstanceProfile
    host: Host
    configuration: Configuration
    rows_per_request: int

    def workers(self) -> AbstractContextManager[Workers]:
        """Start fresh workers, within the CPUs and the memory of the profile. Raises as ``start_workers`` does."""
        return workers_for(
            self.configuration,
            self.compilation.artifact,
            self.payload.rows,
            host=self.host,
            memory_bytes=self.profile.memory_bytes,
            rows_per_request=self.rows_per_request,
        )

    def driver(self, name: DriverName) -> AbstractContextManager[MeasuredDriver]:
        """Start what carries out runs: fresh workers, or a fresh endpoint with load clients beside it. Raises as
        ``workers_for`` and ``endpoint_for`` do."""
        if name == "inprocess":
            return self.workers()
        return endpoint_for(
            self.configuration,
            self.compilation.artifact,
            self.model.signature,
            self.payload.rows,
            host=self.host,
            memory_bytes=self.profile.memory_bytes,
            rows_per_request=self.rows_per_request,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A deployment of a model of which everything that can be wrong is known to be right, but what its backend says
    when it compiles it."""

    model: Model
    payload: Payload
    profile: InstanceProfile
    host: Host
    configuration: Configuration
    rows_per_request: int
    precision: PrecisionLimits

    def compiled(self) -> Prepared:
        """Compile it, and check its predictions: within the time limit around, else within one for such a model. Raises
        BackendError."""
        from servefit.backends.compilation import compile_model

        configuration = self.configuration
        with within(self._usual_budget() if isinf(time_left_s()) else None):
            compilation = compile_model(
                self.model,
                configuration.backend,
                payload=self.payload,
                target=configuration.target,
                precision=self.precision,
            )
        return Prepared(
            model=self.model,
            compilation=compilation,
            payload=self.payload,
            profile=self.profile,
            host=self.host,
            configuration=configuration,
            rows_per_request=self.rows_per_request,
        )

    def _usual_budget(self) -> Budget:
        """Return the most time for compiling where nobody gives any: a backend may hang."""
        from servefit.backends.compilation import estimate_s

        estimated_s = estimate_s(self.model, self.configuration.backend)
        larger_s = TIMES_ESTIMATE * estimated_s + self.model.size_bytes / MIN_COMPILED_BYTES_PER_S
        return Budget(limit_s=ceil(MIN_COMPILING_S + larger_s), given=False)


def prepare(model: Any, deployment: Deployment, **requests: Any) -> Prepared:
    """Examine a deployment of ``model`` with its ``requests``, and compile it. Raises as :func:`examine`, and
    BackendError."""
    return examine(model, deployment, **requests).compiled()


def examine(
    model: Any,
    deployment: Deployment,
    *,
    payload: Any = None,
    rows_per_request: int = 1,
    seed: int = 0,
    trust_pickle: bool = False,
    trust_code: bool = False,
    driver: DriverName = "inprocess",
    served: bool = False,
) -> Examined:
    """Open ``model``, a Model or anything that Model.load takes, and find what to measure it with.

    Without ``payload`` rows are drawn from the model; of a script none can be, and it needs none if it is ``served``
    alone. Without a profile it is the whole of this host, less, for the
    "http" ``driver``, what the load client takes. Raises SpecError for nonsense, ModelError and BackendError.
    """
    from servefit.backends.checking.verification import check_batch_dependence
    from servefit.backends.finding.capabilities import backend as backend_named
    from servefit.backends.model import Model
    from servefit.backends.payload.bodies import no_requests
    from servefit.backends.payload.reading import payload_for
    from servefit.backends.payload.types import with_sizes_of
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.profiles import gpu_for

    target = Target.named(deployment.target)
    host = describe_host()
    if driver not in ("inprocess", "http"):
        raise SpecError.unknown("driver", str(driver), ["inprocess", "http"])
    instance = _instance(deployment.profile, host, target, leaves_a_cpu=driver == "http")
    if deployment.backend is not None:
        backend_named(deployment.backend)
    opened = (
        model
        if isinstance(model, Model)
        else Model.load(model, trust_pickle=trust_pickle, trust_code=trust_code, sample=payload)
    )
    asks_nothing = served and payload is None and opened.signature.opaque
    sample = no_requests(opened.signature) if asks_nothing else payload_for(opened, payload, seed=seed)
    opened = check_batch_dependence(with_sizes_of(opened, sample), sample)
    check_single_requests(opened, rows_per_request)
    check_joining(opened, deployment.batch, allowed=deployment.allow_batch_dependence)
    if driver == "http":
        check_requests(opened, sample, rows_per_request)
    name = deployment.backend or opened.reference
    if deployment.options:
        # Some knobs are there for several threads alone; set for one, they change nothing.
        _check_options(deployment.options, backend_named(name).knobs(opened, max(2, instance.vcpus), target))
    configuration = Configuration(
        vcpus=instance.vcpus,
        backend=name,
        target=target,
        settings=Settings(threads=deployment.threads, options=tuple(sorted(deployment.options.items()))),
        workers=deployment.workers,
        max_batch=deployment.batch,
        batch_delay_us=deployment.batch_delay_us,
        environment=tuple(sorted(deployment.environment.items())),
        gpu=gpu_for(instance, host.gpus) if target is Target.CUDA else None,
    )
    check_configuration(configuration, rows_per_request)
    return Examined(
        model=opened,
        payload=sample,
        profile=instance,
        host=host,
        configuration=configuration,
        rows_per_request=rows_per_request,
        precision=deployment.precision,
    )


def check_requests(model: Model, payload: Payload, rows_per_request: int) -> None:
    """Raise SpecError where an endpoint of ``model`` cannot be sent so many rows of ``payload`` in a request."""
    from servefit.profiler.drivers.http.bodies import check_sizes

    packing = model.signature.packing if model.signature.sizes else None
    check_sizes(payload.rows, packing, rows_per_request=rows_per_request, form="open-inference")


_ADDRESS = re.compile(r"(https?:)/{1,2}(?=[^/])")
"""The beginning of an address: as a path it has lost one of its two slashes."""


def check_there(model: Any, payload: Any = None) -> None:
    """Raise CorruptModel or PayloadMismatch for a path that leads nowhere: nobody is to wait, or compile, for that; and
    SpecError for the address of an endpoint in the place of a model."""
    if isinstance(model, str | PathLike) and _ADDRESS.match(address := os.fspath(model)):
        raise SpecError(
            "model",
            _ADDRESS.sub(r"\1//", address, count=1),
            "is the address of an endpoint",
            remedy="servefit load measures one that runs",
        )
    if isinstance(model, str | PathLike):
        check_local("model", model)
    if isinstance(model, str | PathLike) and not os.path.exists(model):  # noqa: PTH110 - whatever the path looks like
        raise CorruptModel(Path(model), "there is no such file")
    from servefit.backends.payload.bodies import Bodies

    payload = payload.source if isinstance(payload, Bodies) else payload
    if isinstance(payload, str | Path):
        check_local("payload", payload)
    if isinstance(payload, str | Path) and not os.path.exists(payload):  # noqa: PTH110
        raise PayloadMismatch(Path(payload).name, expected="a readable file", got="no such file or directory")


def model_name(model: Any) -> str:
    """Return what a person calls ``model``, a Model or anything that Model.load takes: by its file, or by its type."""
    source = getattr(model, "source", model)
    return Path(source).name if isinstance(source, str | Path) else type(source).__name__


def check_single_requests(model: Model, rows_per_request: int) -> None:
    """Raise SpecError for several rows a request where a row is a whole request."""
    if model.signature.opaque and rows_per_request > 1:
        problem = "is for models that take rows, and a request to a script is one file or one line"
        raise SpecError("rows_per_request", rows_per_request, problem, remedy="leave it at 1")


def check_joining(model: Model, batch: int, *, allowed: bool) -> None:
    """Raise SpecError where up to ``batch`` requests are to be joined that change each other's predictions, unless that
    is ``allowed``, and of a model that takes one request a call."""
    if batch > 1 and model.is_called_singly:
        problem = "joins requests, and a script takes one a call"
        raise SpecError("batch", batch, problem, remedy="leave it at 1")
    if batch > 1 and model.batch_dependent and not allowed:
        raise SpecError(
            "batch",
            batch,
            "joins requests, and what this model predicts of one depends on the others",
            remedy="leave it at 1, or allow that with --allow-batch-dependence (allow_batch_dependence=True)",
        )


def _check_options(options: Mapping[str, KnobValue], knobs: Collection[Knob]) -> None:
    """Raise SpecError for an option that is not one of the ``knobs`` of its backend. The number of threads is a field
    of Deployment."""
    names = [knob.name for knob in knobs if knob.name != "threads"]
    if unknown := sorted(options.keys() - set(names)):
        if not names:
            raise SpecError("options", unknown[0], "is not known, and the backend has none", remedy="leave it out")
        raise SpecError.unknown("options", unknown[0], names)


def _instance(name: str | None, host: Host, target: Target, *, leaves_a_cpu: bool) -> InstanceProfile:
    """Find the profile of that name; without one, the largest that is made from this host and fits ``target``, and, if
    possible, leaves a CPU for something else."""
    from servefit.profiler.machine.profiles import find_profile, local_profiles, why_not_measurable

    if name is None:
        fitting = [
            profile
            for profile in local_profiles(host)
            if bool(profile.gpus) == (target is Target.CUDA) and why_not_measurable(profile, host) is None
        ]
        if not fitting:
            raise SpecError("target", target.value, f"has no profile on this host: {host.no_gpu_reason}")
        leaving = [profile for profile in fitting if client_cpus(host.cpus, choose_cpus(host.cpus, profile.vcpus))]
        if leaves_a_cpu and leaving:
            fitting = leaving
        return max(fitting, key=lambda profile: profile.vcpus)
    instance = find_profile(name, host)
    if reason := why_not_measurable(instance, host):
        raise SpecError("profile", name, f"cannot be measured here: it {reason}")
    return instance
