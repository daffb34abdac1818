"""The folder of a job, on the host that measures: the rows that it sends, and what every step recorded.

What the job found is in the database.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.search.request.job_request import check_name
from servefit.state import state_folder, writing

if TYPE_CHECKING:
    from servefit.profiler.record.types import Measurement

PAYLOAD_FILE = "payload.npy"
"""The rows that a job sends, in its folder."""


def job_folder(name: str) -> Path:
    """Return the folder of the payload and the raw samples of a job, on the host that measures. Raises SpecError for a
    name that no job can have, as an order of a fleet may say, and StateError."""
    check_name("job", name)
    return state_folder("jobs") / name


def reserve(name: str) -> Path:
    """Make the folder of a new job. Raises SpecError if there is one, StateError."""
    folder = job_folder(name)
    if folder.exists():
        raise SpecError("name", name, "is in use by an earlier job", remedy="choose another name")
    with writing(folder):
        folder.mkdir()
    return folder


def keep_measurement(measurement: Measurement, folder: Path, step: int) -> str:
    """Keep what step number ``step`` recorded; give the file's name within the job's folder. Raises StateError."""
    from servefit.profiler.record.storage.measurements import save_measurement

    name = f"measurements/{step:04}.servefit"
    path = folder / name
    with writing(path):
        path.parent.mkdir(exist_ok=True)
    save_measurement(measurement, path, variable="SERVEFIT_HOME")
    return name
