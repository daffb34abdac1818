"""A finished or interrupted job, and where it is kept. How one runs is in ``running``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from servefit.errors import SpecError
from servefit.search.document import job_document
from servefit.state import state_folder, write_atomically, writing

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.profiler.host import Host
    from servefit.profiler.types import Measurement
    from servefit.search.recommendation import CompilationReport, FailedTrial, Recommendation, Skipped, Trial
    from servefit.search.request import Goal, JobRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationJob:
    """What a job found. ``recommendations`` come best first, one per instance profile that could be measured.

    ``status`` is COMPLETED when there is an answer, even "nothing meets the SLA"; FAILED when nothing could be
    measured; STOPPED when it was interrupted. ``tests`` counts load tests, confirmations included.
    """

    request: JobRequest
    status: Literal["COMPLETED", "FAILED", "STOPPED"]
    model: Model
    payload: Payload
    host: Host
    elapsed_s: float
    tests: int
    recommendations: tuple[Recommendation, ...]
    trials: tuple[Trial, ...]
    failed: tuple[FailedTrial, ...]
    compilation: tuple[CompilationReport, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def goal(self) -> Goal:
        return self.request.goal

    @property
    def best(self) -> Recommendation | None:
        """The first recommendation, None where there is none."""
        return self.recommendations[0] if self.recommendations else None

    def to_dict(self) -> dict[str, Any]:
        """The JSON document that ``servefit recommend --format json`` prints."""
        return job_document(self)


class JobInterrupted(KeyboardInterrupt):
    """The job was interrupted; ``job`` is what it had found until then."""

    def __init__(self, job: RecommendationJob) -> None:
        super().__init__(f"job {job.name} was interrupted")
        self.job = job


def default_name(source: Any) -> str:
    """A name for a job on ``source``: what the model is called, and the time."""
    stem = Path(str(source)).name if isinstance(source, (str, Path)) else type(source).__name__
    plain = re.sub(r"[^A-Za-z0-9]+", "-", stem.partition(".")[0]).strip("-")
    return f"{plain[:40] or 'model'}-{datetime.now():%Y%m%d-%H%M%S-%f}"


def reserve(name: str) -> Path:
    """Make the folder that a job of that name is kept in. Raises SpecError if the name is in use, StateError."""
    folder = state_folder("jobs") / name
    if folder.exists():
        raise SpecError("name", name, "is in use by an earlier job", remedy="choose another name")
    with writing(folder):
        folder.mkdir()
    return folder


def keep_measurement(measurement: Measurement, folder: Path, test: int) -> str:
    """Keep what test number ``test`` recorded; give the file's name within the job's folder. Raises StateError."""
    from servefit.profiler.storage.measurements import save_measurement

    name = f"measurements/{test:04}.servefit"
    path = folder / name
    with writing(path):
        path.parent.mkdir(exist_ok=True)
    save_measurement(measurement, path, variable="SERVEFIT_HOME")
    return name


def save(job: RecommendationJob, folder: Path) -> None:
    """Keep the job's document. Raises StateError."""
    write_atomically(folder / "job.json", json.dumps(job.to_dict(), allow_nan=False).encode())
