"""Measures one configuration, and does all that ``servefit profile`` asks for: from a model to figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.backends.types import Settings, Target
from servefit.errors import SpecError
from servefit.profiler.cpus import choose_cpus
from servefit.profiler.inprocess.workers import Workers, check, start_workers
from servefit.profiler.summary import SAMPLES_NEEDED, Summary, summarize
from servefit.profiler.traffic import ClosedLoop, OpenLoop, Traffic
from servefit.profiler.types import Configuration, InstanceProfile, Measurement, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    import numpy as np

    from servefit.backends.compilation import Compilation
    from servefit.backends.model import Model
    from servefit.backends.types import Artifact, KnobValue
    from servefit.profiler.host import Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """What ``profile`` found out: the measurement, its figures, and what to bear in mind when reading them."""

    model: Model
    compilation: Compilation
    payload_source: str
    profile: InstanceProfile
    host: Host
    measurement: Measurement
    summary: Summary
    warnings: tuple[str, ...]


def workers_for(
    configuration: Configuration,
    artifact: Artifact,
    rows: np.ndarray,
    *,
    host: Host,
    memory_bytes: int | None = None,
    rows_per_request: int = 1,
) -> AbstractContextManager[Workers]:
    """Workers of ``configuration`` in an envelope of its size, and of ``memory_bytes``, on ``host``. Raises as
    ``start_workers`` does, and SpecError where the host is too small."""
    cpus = choose_cpus(host.cpus, configuration.vcpus)
    return start_workers(
        configuration, artifact, rows, cpus=cpus, memory_bytes=memory_bytes, rows_per_request=rows_per_request
    )


def assemble(workers: Workers, runs: Iterable[Run], host: Host) -> Measurement:
    """The measurement that ``runs``, one or more, made by ``workers``, amount to."""
    runs = tuple(runs)
    return Measurement(
        configuration=workers.configuration,
        host_fingerprint=host.fingerprint,
        containment=workers.envelope.containment,
        envelope=workers.envelope.method,
        memory_limit_bytes=workers.envelope.memory_limit_bytes,
        cpus=workers.envelope.cpus,
        runs=runs,
        load_s=workers.load_s,
        peak_memory_bytes=max(run.peak_memory_bytes for run in runs),
    )


def measure(
    configuration: Configuration,
    artifact: Artifact,
    rows: np.ndarray,
    traffics: Iterable[Traffic],
    *,
    host: Host,
    rows_per_request: int = 1,
) -> Measurement:
    """Start the workers of ``configuration``, carry out ``traffics`` one after the other, and stop them.

    ``rows`` is the payload, float32 (n, features). Raises MeasurementError, SpecError, or the ServefitError that
    loading the artifact ends in.
    """
    with workers_for(configuration, artifact, rows, host=host, rows_per_request=rows_per_request) as workers:
        return assemble(workers, [workers.run(traffic) for traffic in traffics], host)


def profile(
    model: Any,
    *,
    payload: Any = None,
    backend: str | None = None,
    profile: str | None = None,
    threads: int = 1,
    workers: int = 1,
    batch: int = 1,
    rate: float | None = None,
    users: int | None = None,
    duration_s: float = 5.0,
    rows_per_request: int = 1,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, KnobValue] | None = None,
    target: Target | str = Target.CPU,
    seed: int = 0,
    trust_pickle: bool = False,
) -> Profiled:
    """Measure one configuration of ``model``, a Model or anything that Model.load takes.

    Without ``payload`` rows are drawn from the model; without ``backend`` it is the model's own library; without
    ``profile`` the whole of this host. ``rate`` is requests per second in an open loop with Poisson arrivals; else
    ``users`` (workers x batch by default) take turns in a closed loop. ``batch`` is the most requests joined in a call.
    ``environment`` is set for the workers, ``options`` are knobs of the backend.

    Raises SpecError for nonsense, ModelError, BackendError and MeasurementError.
    """
    from servefit.backends.compilation import compile_model
    from servefit.backends.model import Model
    from servefit.backends.payload.reading import payload_for
    from servefit.backends.registry import backend as backend_named
    from servefit.profiler.host import describe_host
    from servefit.profiler.profiles import gpu_for

    target = Target.named(target)
    traffic = _traffic(rate=rate, users=users, workers=workers, batch=batch, duration_s=duration_s, seed=seed)
    host = describe_host()
    instance = _instance(profile, host, target)
    if backend is not None:
        backend_named(backend)
    opened = model if isinstance(model, Model) else Model.load(model, trust_pickle=trust_pickle)
    sample = payload_for(opened, payload, seed=seed)
    configuration = Configuration(
        vcpus=instance.vcpus,
        backend=backend or opened.reference,
        target=target,
        settings=Settings(threads=threads, options=tuple(sorted((options or {}).items()))),
        workers=workers,
        max_batch=batch,
        environment=tuple(sorted((environment or {}).items())),
        gpu=gpu_for(instance, host.gpus) if target is Target.CUDA else None,
    )
    check(configuration, rows_per_request)
    compilation = compile_model(opened, configuration.backend, payload=sample, target=target)
    measurement = measure(
        configuration, compilation.artifact, sample.rows, [traffic], host=host, rows_per_request=rows_per_request
    )
    summary = summarize(measurement.runs[0], memory_bytes=instance.memory_bytes)
    return Profiled(
        model=opened,
        compilation=compilation,
        payload_source=sample.source,
        profile=instance,
        host=host,
        measurement=measurement,
        summary=summary,
        warnings=(*opened.warnings, *cautions(measurement, summary)),
    )


def cautions(measurement: Measurement, summary: Summary) -> tuple[str, ...]:
    """What somebody who reads the figures of ``measurement`` has to know."""
    configuration = measurement.configuration
    wanted = configuration.workers * configuration.settings.threads
    found = []
    if wanted > configuration.vcpus:
        found.append(
            f"{configuration.workers} workers x {configuration.settings.threads} threads share "
            f"{configuration.vcpus} vCPUs: expect long tails"
        )
    if measurement.containment == "uncontained":
        found.append("uncontained: CPU affinity alone does not hold every library to its CPUs")
    if outside := sum(run.threads_outside for run in measurement.runs):
        found.append(f"{outside} threads were allowed on CPUs outside the envelope")
    if summary.loop == "closed":
        found.append("closed loop: arrivals waited for answers, so latency at a given rate may be higher")
    if summary.saturated:
        found.append(f"saturated: {summary.backlog} requests were still waiting at the end")
    if missing := [name for name, value in summary.latency_ms.items() if value is None]:
        needed = SAMPLES_NEEDED[missing[-1]]
        found.append(f"{summary.samples} samples are too few for {', '.join(missing)} ({missing[-1]} takes {needed})")
    return tuple(found)


def _traffic(
    *, rate: float | None, users: int | None, workers: int, batch: int, duration_s: float, seed: int
) -> Traffic:
    if rate is not None and users is not None:
        raise SpecError("users", users, "cannot be combined with a rate", remedy="give one of them")
    if rate is not None:
        return OpenLoop(rate_per_s=rate, duration_s=duration_s, seed=seed)
    for field, value in (("workers", workers), ("batch", batch), ("users", 1 if users is None else users)):
        if value < 1:
            raise SpecError(field, value, "is not above zero")
    return ClosedLoop.constant(users=workers * batch if users is None else users, duration_s=duration_s)


def _instance(name: str | None, host: Host, target: Target) -> InstanceProfile:
    """The profile of that name; without one, the largest that is made from this host and fits ``target``."""
    from servefit.profiler.profiles import find_profile, local_profiles, why_not_measurable

    if name is None:
        fitting = [
            one
            for one in local_profiles(host)
            if bool(one.gpus) == (target is Target.CUDA) and why_not_measurable(one, host) is None
        ]
        if not fitting:
            raise SpecError("target", target.value, f"has no profile on this host: {host.no_gpu_reason}")
        return max(fitting, key=lambda one: one.vcpus)
    instance = find_profile(name, host)
    if reason := why_not_measurable(instance, host):
        raise SpecError("profile", name, f"cannot be measured here: it {reason}")
    return instance
