"""The process that carries out one survey: ``python -m servefit.aws.jobs.survey_process FOLDER``.

It waits while something else measures, and sends no traffic. One that is broken off begins again.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from servefit.aws.endpoints.commands import variables_of
from servefit.aws.jobs.files import JobFiles, JobOutcome
from servefit.aws.jobs.process import JournalProgress, write_waits
from servefit.aws.jobs.survey import Expected, SurveyFiles
from servefit.errors import ModelError, OutOfMemory, ServefitError


def carry_out(files: SurveyFiles, progress: JournalProgress) -> JobOutcome:
    """Carry out a survey, keep what it found, and say how it ended."""
    from servefit.search.jobs.prospects import prospects_of

    plan = files.plan()
    try:
        prospects = prospects_of(
            plan.model, trust_pickle=plan.trust_pickle, trust_code=plan.trust_code, progress=progress
        )
    except ServefitError as error:
        return JobOutcome(
            status="FAILED",
            reason=str(error).replace(plan.model, plan.model_url),
            blames_data=_blames_data(error),
        )
    files.write_expected(
        [
            Expected(
                profile=prospect.profile.name,
                variables=variables_of(prospect.configuration, measured_as=None, basis="predicted"),
                capacity_per_s=prospect.capacity_per_s,
            )
            for prospect in prospects
        ]
    )
    return JobOutcome(status="COMPLETED")


def _blames_data(error: ServefitError) -> bool:
    """Return whether a model could not be read for what it is, and not for want of memory on a busy machine."""
    return isinstance(error, ModelError) and not isinstance(error.__cause__, OutOfMemory)


def main() -> None:
    """Carry out the survey whose files are in the folder that is named on the command line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(sys.argv[1])
    files = JobFiles(folder)
    write_waits(files.journal)
    try:
        outcome = carry_out(SurveyFiles(folder), JournalProgress(files.journal))
    except KeyboardInterrupt:
        sys.exit(130)  # to be begun again
    files.write_outcome(outcome)
    files.journal.write(
        f"the survey is over: {outcome.status}{'' if outcome.reason is None else ': ' + outcome.reason}"
    )


if __name__ == "__main__":
    main()
