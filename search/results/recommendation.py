"""The results of a job: trials and recommendations. Their JSON form is in ``jobs.document``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.backends.quality.findings import Quality
from servefit.backends.types import Target
from servefit.profiler.evidence.limits import Verdict
from servefit.profiler.evidence.problem import Problem
from servefit.profiler.evidence.summary import Summary
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration, DriverName, Measurement
from servefit.search.request.job_request import THREADS_VARIABLE, WORKERS_VARIABLE, Deployed
from servefit.showing import shown
from servefit.stored import Stored, StoredMember

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.profiler.machine.host import Host
    from servefit.search.request.job_request import JobRequest

Basis: TypeAlias = Literal["measured", "predicted"]


@shown()
class ModelAlone(Stored, frozen=True, kw_only=True):
    """The figures of the model alone, called in process; as ``capacity``, ``at_rate`` and ``instance_count`` of a
    :class:`Trial`."""

    capacity: Summary
    at_rate: Summary | None = None
    instance_count: int = 1


@shown("configuration", "verdict", "reason", "instance_count", "judged", "basis")
class Trial(StoredMember, frozen=True, kw_only=True):
    """One configuration, measured.

    ``capacity`` sums up the closed loop that finds how many requests the configuration can answer, or of traffic in
    phases the plateau that answered most of them within the limits; ``at_rate`` the open loop at the rate asked of one
    of ``instance_count`` instances, None where no rate was asked; of that rate one was asked for ``asked_per_s``, which
    trials of an earlier servefit do not have. ``stopped`` says which condition ended traffic in
    phases before its time. ``problems`` are what was wrong with the measurement. ``measurement`` is without its runs:
    their raw samples are in ``kept_in``, a file in the job's folder. ``threads_outside`` were allowed on CPUs outside
    the envelope. ``round`` is the round of finalists that it belongs to, None for all other tests. ``driver`` says how
    requests came: to the predictor itself, or over HTTP to the endpoint that would be deployed.

    ``basis`` says whether ``capacity`` and ``at_rate`` were measured. Those of an endpoint are predicted where its
    envelope leaves no CPU to a client; then ``alone`` has what was measured in process, and ``measurement``,
    ``problems`` and ``kept_in`` are of that.

    Example:
        ::

            for trial in job.trials:
                print(trial.configuration.backend, trial.verdict, trial.capacity.throughput_per_s)
    """

    configuration: Configuration
    measurement: Measurement
    capacity: Summary
    at_rate: Summary | None
    instance_count: int
    verdict: Verdict
    reason: str | None
    violation: float
    stopped: str | None = None
    problems: tuple[Problem, ...] = ()
    threads_outside: int = 0
    kept_in: str | None = None
    round: int | None = None
    driver: DriverName = "inprocess"
    basis: Basis = "measured"
    alone: ModelAlone | None = None
    asked_per_s: float | None = None

    @property
    def judged(self) -> Summary:
        """The figures that the SLA is held against."""
        return self.capacity if self.at_rate is None else self.at_rate

    @property
    def left_out_s(self) -> float:
        """The seconds of its loads in which others used the CPUs, which no figure is of."""
        return self.capacity.left_out_s + (0.0 if self.at_rate is None else self.at_rate.left_out_s)


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTrial:
    """One configuration that could not be measured, and why. ``step`` is the number of the job step that tried."""

    configuration: Configuration
    reason: str
    step: int | None = None


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The requests a second that an instance answers at most, and whether that was measured or predicted."""

    rate_per_s: float
    basis: Basis


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The outcome of measuring a recommended configuration again, after it had won.

    ``outcome`` is "confirmed", "predicted" (the figures are, whatever was measured in process), "disturbed" (the
    machine got in the way of that measurement: ``problem`` is how), or "not made": for lack of time or tests, or
    because another one won.

    Example:
        ::

            confirmation = job.best.confirmation
            print(confirmation.outcome, confirmation.reason)
    """

    outcome: Literal["confirmed", "predicted", "disturbed", "not made"]
    problem: Problem | None = None

    @property
    def is_confirmed(self) -> bool:
        """Whether the figures are those of a measurement that was made after the configuration had won."""
        return self.outcome == "confirmed"

    @property
    def reason(self) -> str | None:
        """The reason why it is not confirmed, None where it is."""
        if self.outcome == "confirmed":
            return None
        if self.outcome == "not made":
            return "it was not measured again"
        if self.outcome == "predicted":
            return "it was predicted: no CPU was left to load the endpoint from"
        because = "" if self.problem is None else f": {self.problem.reason}"
        return f"the machine got in the way of the second measurement{because}"


@shown("id", "deployment", "profile", "trial", "max_invocations", "cost_per_hour")
@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One profile with the configuration that serves it best. Prices are in the currency of the profile, None where
    unknown.

    ``cost_per_hour`` and ``max_invocations`` (a minute) are those of all instances together. All figures are of the
    ``deployment`` that was asked for, which ``trial`` measured. ``beside`` is the same configuration in the other
    deployment, None where that was not measured. ``step`` and ``beside_step`` are the numbers of the job steps that
    measured the two. ``model`` is what a job made its recommendations for, and ``measured_on`` where.
    ``same_as`` names the other profiles that share the measurement, the cheapest first: they are of the same size, and
    got the same configuration.
    ``confirmation`` says whether the configuration was measured again after it had won; None outside of a job.
    ``quality`` is what was found of an artifact that predicts less exactly than the model's own library, None of an
    exact one. ``request`` is that of the job, and ``payload_digest`` names the rows that it sent; None outside of one.
    ``allowed`` are the variables that an endpoint made of it may set beside those of the list, None for any: those of
    a job that others may have written are allowed by name alone.
    """

    id: str
    profile: InstanceProfile
    trial: Trial
    cost_per_hour: float | None
    cost_per_inference: float | None
    max_invocations: float
    deployment: Deployed = "library"
    beside: Trial | None = None
    step: int | None = None
    beside_step: int | None = None
    model: Model | None = None
    measured_on: Host | None = None
    same_as: tuple[str, ...] = ()
    confirmation: Confirmation | None = None
    quality: Quality | None = None
    request: JobRequest | None = None
    payload_digest: str | None = None
    allowed: frozenset[str] | None = field(default=None, compare=False)

    @property
    def vcpus(self) -> int:
        """The vCPUs of all instances together."""
        return self.trial.instance_count * self.profile.vcpus

    @property
    def endpoint(self) -> Trial | None:
        """The configuration as an endpoint, asked over HTTP; None where that was not measured."""
        return self.trial if self.deployment == "endpoint" else self.beside

    @property
    def model_alone(self) -> Trial | None:
        """The configuration as a library, called in process; None where that was not measured."""
        return self.trial if self.deployment == "library" else self.beside

    @property
    def capacity(self) -> Capacity:
        """The requests a second that one instance of the deployment answers at most."""
        return Capacity(rate_per_s=self.trial.capacity.throughput_per_s, basis=self.trial.basis)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a deployment sets."""
        configuration = self.trial.configuration
        return {
            THREADS_VARIABLE: str(configuration.settings.threads),
            WORKERS_VARIABLE: str(configuration.workers),
            **dict(configuration.environment),
        }


@shown()
class CompilationReport(StoredMember, frozen=True, kw_only=True):
    """The outcome of one backend's compilation. ``version`` is that of the backend's library. ``speedup`` is how many
    times faster than the reference it answers one request on one thread, None where the two were not both measured.
    ``quality`` is what was found of an artifact that predicts less exactly, None of an exact one."""

    backend: str
    target: Target
    status: Literal["COMPLETED", "FAILED"]
    seconds: float
    cached: bool = False
    version: str | None = None
    speedup: float | None = None
    reason: str | None = None
    quality: Quality | None = None


@shown()
class Skipped(Stored, frozen=True, kw_only=True):
    """A profile or a backend that was left out, and why."""

    kind: Literal["instance_profile", "backend"]
    name: str
    reason: str
