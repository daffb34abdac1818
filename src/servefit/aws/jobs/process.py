"""The process that carries out one job: ``python -m servefit.aws.jobs.process FOLDER``.

It outlives the server, and writes down how the job ended. A job that was begun before is taken up where it was.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.aws.jobs.endpoint_load import carry_out_load
from servefit.aws.jobs.files import JobFiles, JobOutcome
from servefit.aws.jobs.plan import is_told
from servefit.errors import ServefitError

if TYPE_CHECKING:
    from servefit.aws.jobs.journal import Journal
    from servefit.aws.jobs.plan import Plan
    from servefit.backends.payload.bodies import Bodies
    from servefit.profiler.record.types import Configuration
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.optimizer.progress import Moment, Progress
    from servefit.search.results.recommendation import FailedTrial, Trial

MAX_REASON_CHARACTERS = 1024
"""Of a FailureReason."""


class JournalProgress:
    """A listener to a job that writes it down."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def stage(self, text: str, at: Moment | None = None) -> None:  # noqa: ARG002 - the contract of a listener
        self._journal.write(text)

    def timing(self, configuration: Configuration, at: Moment) -> None:
        pass

    def testing(self, configuration: Configuration, at: Moment) -> None:
        self._journal.write(f"step {at.step}: testing {_text(configuration)}")

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        from servefit.search.figures.registry import values
        from servefit.search.results.recommendation import Trial

        outcome = trial.reason
        if isinstance(trial, Trial) and outcome is None:
            figures = values(trial, "max_invocations", "model_latency_ms.p95")
            outcome = ", ".join(f"{name} {value}" for name, value in figures.items() if value is not None)
        self._journal.write(f"step {at.step}: {_text(trial.configuration)}: {outcome}")


class _Waits(logging.Handler):
    """Writes down that a job waits for the measuring slot, and for whom, whenever the slot logs a warning that it does;
    and how long that took, which it logs too. The words of the warning are for people at a terminal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.INFO)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            from servefit.profiler.machine.slot.holding import slot_state

            text = f"waiting until {slot_state().holder or 'something else'} has measured"
        self._journal.write(text)


def write_waits(journal: Journal) -> None:
    """Have the journal say from now on that this process waits for the measuring slot: one process of a machine
    measures at a time."""
    slot = logging.getLogger("servefit.profiler.machine.slot")
    slot.setLevel(logging.INFO)
    slot.addHandler(_Waits(journal))


def _text(configuration: Configuration) -> str:
    from servefit.search.deployment.deployable import configuration_text

    return configuration_text(configuration)


def carry_out(files: JobFiles, plan: Plan, progress: Progress) -> RecommendationJob:
    """Run the job of a plan, or take it up where it was. Raises ServefitError, where a job of the command line has its
    name too."""
    from servefit.aws.jobs.model_scripts import payload_of, script_warning
    from servefit.aws.jobs.own_job import own_job
    from servefit.search.jobs.lifecycle import resume_job, run_job

    earlier = own_job(files)
    if earlier is None:
        payload: str | Bodies | None = plan.payload
        if plan.model is not None:
            model = Path(plan.model)
            if (warning := script_warning(model, trust_code=plan.trust_code)) is not None:
                progress.stage(warning)
            payload = payload_of(model, plan.payload, plan.content_types, trust_code=plan.trust_code)
        files.write_begin()
        return run_job(
            plan.model,
            payload,
            plan.request(),
            trust_pickle=plan.trust_pickle,
            trust_code=plan.trust_code,
            progress=progress,
        )
    if earlier.status in ("COMPLETED", "FAILED"):
        return earlier
    return resume_job(plan.name, progress=progress)


def outcome_of(files: JobFiles, plan: Plan, progress: Progress) -> JobOutcome:
    """Carry out a plan, whose files these are, and say how it ended. Where its endpoint cannot be loaded, nothing else
    is measured."""
    if plan.endpoint is not None:
        load = carry_out_load(files, plan, plan.endpoint, progress)
        if load.status == "FAILED":
            return _failed(f"endpoint {plan.endpoint.name}: {load.reason}")
        if plan.model is None:
            return JobOutcome(status="COMPLETED")
    if all(measured.reason is not None for measured in plan.measured):
        types = "; ".join(f"{measured.instance_type}: {measured.reason}" for measured in plan.measured)
        return _failed(f"no instance type can be measured here: {types}")
    try:
        job = carry_out(files, plan, progress)
    except ServefitError as error:
        return _failed(plan.with_urls(str(error)))
    if job.status == "STOPPED":
        return JobOutcome(status="STOPPED")
    if any(is_told(job, recommendation) for recommendation in job.recommendations):
        return JobOutcome(status="COMPLETED")
    return _failed(_why_not_told(job, plan) if job.recommendations else _why_nothing(job) + plan.scale_note)


def _why_not_told(job: RecommendationJob, plan: Plan) -> str:
    """Return why the best of what a job has measured is no recommendation."""
    best, sla = job.recommendations[0].trial, job.request.sla
    because = "" if best.reason is None else f": {best.reason}"
    if best.verdict == "INVALID":
        return f"the machine got in the way of the measurements{because}"
    if best.verdict == "UNDECIDED":
        # What a command is told is another option here.
        missing = because.partition(": --budget")[0]
        return f"whether {sla} is met is undecided{missing}: raise JobDurationInSeconds{plan.scale_note}"
    return f"nothing that was measured is known to meet {sla}{because}"


def _why_nothing(job: RecommendationJob) -> str:
    """Return why a job has measured nothing: for want of time, or as tests failed, or backends are not there."""
    from servefit.search.jobs.nothing_measured import NOTHING

    reasons = [line for line in job.warnings if line.startswith(NOTHING)] or [failed.reason for failed in job.failed]
    reasons = reasons or [f"{skipped.name}: {skipped.reason}" for skipped in job.skipped]
    return "; ".join(dict.fromkeys(reasons)) or "nothing could be measured"


def _failed(reason: str) -> JobOutcome:
    return JobOutcome(status="FAILED", reason=reason[:MAX_REASON_CHARACTERS])


def main() -> None:
    """Carry out the job whose files are in the folder that is named on the command line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    files = JobFiles(Path(sys.argv[1]))
    plan, journal = files.plan(), files.journal
    write_waits(journal)
    try:
        outcome = outcome_of(files, plan, JournalProgress(journal))
    except KeyboardInterrupt:
        sys.exit(130)  # to be taken up again
    files.write_outcome(outcome)
    journal.write(f"the job is over: {outcome.status}{'' if outcome.reason is None else ': ' + outcome.reason}")


if __name__ == "__main__":
    main()
