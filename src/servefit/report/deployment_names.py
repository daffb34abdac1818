"""What the figures of a job are of: the endpoint that would be deployed, or the model alone, called as a library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob

LIBRARY = "library"
"""What jobs measured that were not asked how their answer is deployed: the model, called in process."""


def deployment_name(job: RecommendationJob) -> str:
    """Return what the recommendations of ``job`` are deployed as: "endpoint" or "library"."""
    return str(getattr(job.request, "deploy", LIBRARY))
