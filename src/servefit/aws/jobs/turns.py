"""Turns of all that waits for the machine: jobs in the order in which they were made, and surveys between them.

A survey takes some seconds, and is promised within a minute; a job may take hours. So a survey goes before the jobs
that wait, but after a survey it is a job's turn: however many models are asked for, no job waits for more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.aws.state.resources import Resource

JOB = "inference-recommendations-job"
SURVEY = "model-survey"
"""The kinds of what waits: recommendation jobs, and surveys of models for instant recommendations."""

DATA_VERSION = "DataVersion"
"""The key in both by which it is known whether they are of the same model data."""


def next_turn(jobs: Sequence[Resource], surveys: Sequence[Resource], *, before: str | None) -> Resource | None:
    """Return what is to be carried out next, None where nothing waits. ``before`` is the kind of what was last.

    What was begun goes on. A survey of the data of a job that waits, or has an answer, is left: the job says more.
    """
    begun = [resource for resource in (*jobs, *surveys) if resource.document["Status"] in ("IN_PROGRESS", "STOPPING")]
    waiting = [job for job in jobs if job.document["Status"] == "PENDING"]
    versions = {job.document.get(DATA_VERSION) for job in jobs if job.document["Status"] in ("PENDING", "COMPLETED")}
    quick = [
        survey
        for survey in surveys
        if survey.document["Status"] == "PENDING" and survey.document[DATA_VERSION] not in versions
    ]
    in_turn = (*waiting, *quick) if before == SURVEY else (*quick, *waiting)
    return next(iter((*begun, *in_turn)), None)
