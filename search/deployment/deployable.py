"""The way from what somebody names to what is deployed: a recommendation of a job, or a model in a configuration of
their own, with its artifact compiled.

``served`` makes an endpoint on this host of it, and ``bundle`` a folder for other machines.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from servefit.backends.model.names import name_after
from servefit.errors import SpecError
from servefit.quantities import count_text, given_duration_text

if TYPE_CHECKING:
    from servefit.backends.compilation import Compilation
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.procedures.prepare import Deployment
    from servefit.profiler.record.types import Configuration
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.recommendation import Recommendation
    from servefit.serving.config import EndpointConfig, Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployable:
    """One model, compiled, in one configuration, and the instances that it is to run on.

    ``host`` is where the configuration was measured, or this one where it was not. ``used_bytes`` is the memory that
    its processes were measured to take, None where nothing was. ``rows_together`` says that the prediction of a row
    depends on the others of its request. ``job`` is the recommendation, "JOB/ID", empty where there is none. ``notes``
    say what to know before relying on it.
    """

    model: Model
    artifact: Artifact
    configuration: Configuration
    profile: InstanceProfile
    instances: int = 1
    host: Host
    used_bytes: int | None = None
    rows_together: bool = False
    job: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the model in URLs, by default that of its file."""
        return name_after(self.model.source.removeprefix("a live "), keep="_")

    def endpoint(
        self, *, name: str | None = None, host: str = "127.0.0.1", port: int = 8080, limits: Limits | None = None
    ) -> EndpointConfig:
        """Return the endpoint that serves it, with exactly this configuration. Raises SpecError for a name that is
        none."""
        from servefit.profiler.drivers.hosted_endpoint import endpoint_config

        config = endpoint_config(self.configuration, self.artifact, self.model.signature, name=name or self.name)
        return replace(
            config,
            host=host,
            port=port,
            limits=limits or config.limits,
            rows_together=self.rows_together,
            job=self.job,
        )


def deployable_of_job(address: str, *, storage: str | None = None, allowed: Collection[str] = ()) -> Deployable:
    """Return the recommendation "JOB/ID", or the first one of "JOB", as a deployable. Of a job on a fleet, what has the
    same ID on several classes of hosts is the same deployment. ``allowed`` are variables that it may set beside those
    of the list, where others can write to the database.

    Raises SpecError for an unknown job, and for one with several classes of hosts where no ID is given; StorageError,
    and as :func:`deployable_of_recommendation`.
    """
    from servefit.search.jobs.lifecycle import load_parts

    name, slash, chosen = address.partition("/")
    parts = load_parts(name, storage=storage, allowed=allowed)
    if len(parts) == 1:
        return deployable_of_recommendation(parts[0], chosen if slash else None)
    parts_by_id = {
        recommendation.id: part for part in reversed(parts) for recommendation in (*part.pareto, *part.recommendations)
    }
    if chosen not in parts_by_id:
        raise SpecError(
            "job",
            address,
            "measures on several classes of hosts, each with recommendations of its own",
            remedy=f"name one of them, such as {name}/{next(iter(parts_by_id), 'ID')}; servefit show {name} has them",
        )
    return deployable_of_recommendation(parts_by_id[chosen], chosen)


def deployable_of_recommendation(job: RecommendationJob, recommendation_id: str | None = None) -> Deployable:
    """Return the recommendation of that ID, or the first one, as a deployable with its notes. It is compiled unless it
    is cached.

    Raises SpecError, naming what is known, for an unknown ID and for a job without recommendations, and as
    :func:`deployable`.
    """
    recommendation = job.recommendation(recommendation_id)
    bare = deployable(recommendation, job.model, job.host)
    return replace(
        bare,
        job=f"{job.name}/{recommendation.id}",
        notes=tuple(_notes(job, recommendation, bare.artifact)),
    )


def deployable(recommendation: Recommendation, model: Model, host: Host) -> Deployable:
    """Return ``recommendation``, measured on ``host``, with its artifact. Raises CorruptModel where the model's file is
    gone, or has changed, what ``compile_model`` raises, and for a job that others may have written what
    ``check_written_by_others`` does."""
    from servefit.backends.compilation import compile_again
    from servefit.backends.model.kept import as_kept, check_kept
    from servefit.search.jobs.written_by_others import check_written_by_others

    if recommendation.allowed is not None:
        variables = recommendation.trial.configuration.environment
        check_written_by_others(model, recommendation.request, variables, allowed=recommendation.allowed)

    exact = recommendation.quality is None

    check_kept(model)
    model = as_kept(model)
    configuration = recommendation.trial.configuration
    # Over HTTP with the supervisor, and with all that requests bring with them.
    measured = (recommendation.endpoint or recommendation.trial).measurement
    compilation = compile_again(
        model,
        configuration.backend,
        payload=None if exact else _judged_payload(recommendation),
        target=configuration.target,
        precision=None if exact or recommendation.request is None else recommendation.request.precision,
        quality=recommendation.quality,
    )
    return Deployable(
        model=model,
        artifact=compilation.artifact,
        configuration=configuration,
        profile=recommendation.profile,
        instances=recommendation.trial.instance_count,
        host=host,
        used_bytes=measured.peak_memory_bytes or None,
        rows_together=_are_together(model, compilation),
    )


def _judged_payload(recommendation: Recommendation) -> Payload | None:
    """Return the rows that an artifact of less exact arithmetic was calibrated on and judged by: those of the job.
    Raises SpecError where they are not there any more."""
    from servefit.backends.payload import Payload
    from servefit.search.jobs.beginning import payload_rows
    from servefit.search.storage.job_folder import PAYLOAD_FILE, job_folder

    if recommendation.request is None or recommendation.payload_digest is None:
        return None
    file = job_folder(recommendation.request.name) / PAYLOAD_FILE
    rows, quality = payload_rows(file, recommendation.payload_digest), recommendation.request.precision.quality
    # There may be a label for each row of a payload of which only the first rows were taken.
    labels = 0 if quality is None else len(quality.labels)
    return Payload(rows=rows, source="the job's payload", truncated_from=labels if labels > len(rows) else None)


def deployable_of_model(
    model: Any, deployment: Deployment, *, trust_pickle: bool = False, trust_code: bool = False
) -> Deployable:
    """Return ``model``, a Model or anything that Model.load takes, to be served as ``deployment`` says. Raises as
    ``prepare``, and SpecError for a backend that predicts less exactly: there are no rows to judge it on."""
    from servefit.backends.finding.capabilities import backend
    from servefit.backends.types import Precision
    from servefit.profiler.procedures.prepare import prepare

    if deployment.backend is not None and (library := backend(deployment.backend)).precision is not Precision.EXACT:
        raise SpecError(
            "backend",
            deployment.backend,
            f"computes in {library.precision}, and without rows nobody knows what that changes",
            remedy=f"servefit recommend MODEL --payload FILE --allow-precision {library.precision} "
            "--max-deviation 0.01 --name JOB, then servefit serve JOB",
        )
    prepared = prepare(model, deployment, trust_pickle=trust_pickle, trust_code=trust_code, served=True)
    return Deployable(
        model=prepared.model,
        artifact=prepared.compilation.artifact,
        configuration=prepared.configuration,
        profile=prepared.profile,
        host=prepared.host,
        rows_together=_are_together(prepared.model, prepared.compilation),
        notes=prepared.model.warnings,
    )


def _are_together(model: Model, compilation: Compilation) -> bool:
    """Return whether the prediction of a row depends on the others of its request, by the model or by how it was
    compiled."""
    return model.batch_dependent or (compilation.quality is not None and compilation.quality.batch_dependent)


def _notes(job: RecommendationJob, chosen: Recommendation, artifact: Artifact) -> list[str]:
    notes = []
    if job.status == "IN_PROGRESS":
        notes.append(f"job {job.name} is not over: this is the best that it has found so far")
    if chosen.trial.verdict != "PASS" and not job.request.sla.asks_nothing:
        because = "" if chosen.trial.reason is None else f": {chosen.trial.reason}"
        notes.append(f"{chosen.id} is not known to meet {job.request.sla} ({chosen.trial.verdict}){because}")
    if chosen.confirmation is not None and chosen.confirmation.outcome == "disturbed":
        notes.append(f"{chosen.id} was not confirmed: {chosen.confirmation.reason}")
    if chosen.trial.instance_count > 1:
        notes.append(
            f"the job recommends {chosen.trial.instance_count} instances of {chosen.profile.name}: this is one"
        )
    for report in job.compilation:
        measured = (report.backend, report.target) == (artifact.backend, artifact.target) and report.version
        if measured and report.version != artifact.backend_version:
            notes.append(
                f"the job measured {artifact.backend} {report.version}; what is installed is {artifact.backend_version}"
            )
    return notes


def configuration_text(configuration: Configuration) -> str:
    """Return a configuration as a person says it: "onnxruntime, 2 workers x 1 thread, up to 8 requests a call"."""
    workers, threads = count_text(configuration.workers, "worker"), count_text(configuration.settings.threads, "thread")
    text = f"{configuration.backend}, {workers} x {threads}"
    if configuration.max_batch > 1:
        text += f", up to {configuration.max_batch} requests a call"
    if configuration.batch_delay_us:
        text += f" that wait up to {given_duration_text(configuration.batch_delay_us / 1e6)} for each other"
    return text


def cpu_ranges(cpus: Sequence[int]) -> str:
    """Return CPUs as systemd and the kernel write them: "0-3,8"."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][-1] + 1:
            ranges[-1][1:] = [cpu]
        else:
            ranges.append([cpu])
    return ",".join("-".join(map(str, ends)) for ends in ranges)
