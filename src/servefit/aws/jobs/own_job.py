"""The job of servefit that carries out a job behind the API: one of the command line may have taken its name while it
waited."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.search.jobs.job_reader import JobReader
from servefit.search.jobs.lifecycle import load_job

if TYPE_CHECKING:
    from servefit.aws.jobs.files import JobFiles
    from servefit.search.jobs.job import RecommendationJob


def own_job(files: JobFiles, read: Callable[[str], RecommendationJob] = load_job) -> RecommendationJob | None:
    """Return the job of servefit that the process of a job has made, None where it has made none yet. ``read`` reads
    one by its name. Raises StorageError and StateError.

    One that was made before, or of another model or payload, is somebody else's.
    """
    began_at, plan = files.began_at(), files.plan()
    if began_at is None or plan.payload is None:
        return None
    try:
        job = read(plan.name)
    except SpecError:
        return None
    header = job.header
    # The payload of an archive has its name alone.
    is_own = header.model.source == plan.model and Path(header.payload.source).name == Path(plan.payload).name
    return job if is_own and header.created_at >= began_at else None


_SETTLED_S = 1.0
"""The results of the process of a job are read again at most so often. A step is kept about when its line is written:
chosen, not measured."""

_MAX_JOBS = 32
"""Jobs that are remembered: a large one takes some megabytes. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    job: RecommendationJob | None
    version: tuple[int, int, bool]
    at_s: float


class OwnJobs:
    """Loads jobs as :func:`own_job`, and remembers them as long as nothing has happened, which their journals tell.
    What is said of a job that runs may be a second old: loading one takes time from its measurement. Threads may share
    it; it is to be closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader = JobReader()
        self._known: OrderedDict[Path, _Loaded] = OrderedDict()

    def of(self, files: JobFiles) -> RecommendationJob | None:
        """Return a job, as :func:`own_job` does."""
        with self._lock:
            version = files.version()
            loaded = self._known.get(files.folder)
            if loaded is None or not _is_still_true(loaded, version):
                loaded = _Loaded(at_s=time.time(), version=version, job=own_job(files, self._reader.job))
                self._known[files.folder] = loaded
            self._known.move_to_end(files.folder)
            while len(self._known) > _MAX_JOBS:
                self._known.popitem(last=False)
            return loaded.job

    def close(self) -> None:
        with self._lock:
            self._reader.close()


def _is_still_true(loaded: _Loaded, version: tuple[int, int, bool]) -> bool:
    if loaded.version == version:
        written_s = version[0] / 1e9
        return loaded.at_s - written_s > _SETTLED_S or time.time() - loaded.at_s < _SETTLED_S
    return not version[2] and time.time() - loaded.at_s < _SETTLED_S
