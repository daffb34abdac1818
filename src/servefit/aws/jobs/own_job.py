"""Which job of servefit a job behind the API is carried out by: one of the command line may have taken its name while
it waited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.search.jobs.lifecycle import load_job

if TYPE_CHECKING:
    from servefit.aws.jobs.files import JobFiles
    from servefit.search.jobs.job import RecommendationJob


def own_job(files: JobFiles) -> RecommendationJob | None:
    """Return the job of servefit that the process of a job has made, None where it has made none yet. Raises
    StorageError and StateError.

    One that was made before, or of another model or payload, is somebody else's.
    """
    began_at, plan = files.began_at(), files.plan()
    if began_at is None or plan.payload is None:
        return None
    try:
        found = load_job(plan.name)
    except SpecError:
        return None
    header = found.header
    # The payload of an archive has its name alone.
    is_own = header.model.source == plan.model and Path(header.payload.source).name == Path(plan.payload).name
    return found if is_own and header.created_at >= began_at else None
