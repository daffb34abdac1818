"""A backend that crashes or raises while it is measured is named, with the reason, though another one wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import servefit
from servefit.cli.job_output import print_job
from servefit.cli.output import OutputFormat

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.jobs.conftest import Install

    from servefit.search.jobs.job import RecommendationJob

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short")]

IN_WORKERS = "self.calls = getattr(self, 'calls', 0) + ('servefit.profiler.drivers.driving.worker' in sys.orig_argv)"
CRASHES = f"{IN_WORKERS}; self.calls > 500 and __import__('os').kill(__import__('os').getpid(), 11)"
RAISES = f"{IN_WORKERS}; 1 / (self.calls <= 500)"


@pytest.fixture
def job(install: Install, model: Path) -> RecommendationJob:
    install("crashing", predicting=CRASHES)
    install("raising", predicting=RAISES)
    return servefit.right_size(
        model,
        job_name="job",
        supported_instance_types=["local-1c"],
        backends=["xgboost", "crashing", "raising"],
        batch_sizes=[1],
        max_tests=4,
        job_duration_in_seconds=30,
        allow_noise=True,
        deploy="library",
        over_http=False,
    )


@pytest.mark.thorough
def test_it_is_told_in_the_output_the_warnings_and_the_document(
    job: RecommendationJob, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job.best is not None
    assert job.best.trial.configuration.backend == "xgboost"
    print_job(job, OutputFormat.TABLE, wide=False)
    left_out = capsys.readouterr().out.partition("Backends left out")[2].splitlines()
    for backend, reason in (("crashing", "crashed with SIGSEGV"), ("raising", "ZeroDivisionError")):
        assert any(line.startswith(backend) and reason in line for line in left_out), left_out
        assert any(line.startswith(f"{backend} could not be measured") and reason in line for line in job.warnings)
        assert any(failed.configuration.backend == backend and reason in failed.reason for failed in job.failed)
