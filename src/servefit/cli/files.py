"""Files that are to be written once something is measured."""

from __future__ import annotations

import os
from pathlib import Path

from servefit.errors import StateError


def check_files(save: Path | None, histogram: Path | None) -> None:
    """Refuse files that could not be written after something was measured. Raises SpecError and StateError."""
    from servefit.profiler.evidence.hdr_export import check_histogram_name

    if histogram is not None:
        check_histogram_name(histogram)
    for path in (save, histogram):
        if path is not None and not os.access(path.parent, os.W_OK | os.X_OK):
            raise StateError(path, f"{path.parent} is no folder that can be written to", variable=None)
        if path is not None and path.is_dir():
            raise StateError(path, "it is a folder", variable=None)
