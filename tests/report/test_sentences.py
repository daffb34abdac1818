"""The answer of a job that has no recommendation."""

from __future__ import annotations

import pytest
from tests.report.story import BEGAN_AT, MODEL, PAYLOAD, PROFILES, simulated_host

from servefit.report.sentences import headline
from servefit.search.jobs.job import RecommendationJob
from servefit.search.request.job_request import JobRequest
from servefit.search.storage.header import JobHeader, JobState, JobStatus
from servefit.search.storage.ownership import Owner


@pytest.mark.parametrize(
    ("status", "runs", "sentence"),
    [
        ("IN_PROGRESS", True, "Nothing has been measured yet (0 tests in 1 s, and goes on)."),
        (
            "IN_PROGRESS",
            False,
            "Nothing has been measured yet (0 tests in 1 s, then cut off: servefit resume fraud goes on).",
        ),
        ("STOPPED", False, "Nothing could be measured (0 tests in 1 s, then stopped)."),
        ("FAILED", False, "Nothing could be measured (0 tests in 1 s)."),
    ],
)
def test_that_nothing_could_be_measured_is_said_of_a_job_that_is_over(
    status: JobStatus, runs: bool, sentence: str
) -> None:
    header = JobHeader(
        request=JobRequest(name="fraud"),
        model=MODEL,
        payload=PAYLOAD,
        host=simulated_host(),
        profiles=PROFILES,
        servefit="0.1",
        created_at=BEGAN_AT,
    )
    owner = Owner.this_process() if runs else None
    assert headline(RecommendationJob.of(header, JobState(status=status, elapsed_s=1.0), (), owner=owner)) == sentence
