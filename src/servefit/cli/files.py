"""Files that are to be written once something is measured."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from servefit.cli.signatures import option
from servefit.errors import StateError
from servefit.option_panels import OUTPUT

if TYPE_CHECKING:
    from servefit.profiler.record.endpoint_runs import EndpointRuns
    from servefit.profiler.record.types import Measurement, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """The files that a measurement is kept in."""

    save: Annotated[Path | None, option("Keep the raw samples in FILE.", OUTPUT, "FILE")] = None
    histogram: Annotated[Path | None, option("Export an HdrHistogram: .hlog or .hgrm.", OUTPUT, "FILE.hlog")] = None

    def check(self) -> None:
        """Refuse files that could not be written after something was measured. Raises SpecError and StateError."""
        from servefit.profiler.evidence.hdr_export import check_histogram_name

        if self.histogram is not None:
            check_histogram_name(self.histogram)
        for path in (self.save, self.histogram):
            if path is not None and not os.access(path.parent, os.W_OK | os.X_OK):
                raise StateError(path, f"{path.parent} is no folder that can be written to", variable=None)
            if path is not None and path.is_dir():
                raise StateError(path, "it is a folder", variable=None)

    def write(self, measurement: Measurement | EndpointRuns, run: Run) -> None:
        """Write a measurement, and the histogram of one of its runs. Raises StateError."""
        from servefit.profiler.evidence.hdr_export import save_histogram
        from servefit.profiler.record.storage.measurements import save_measurement

        if self.save is not None:
            save_measurement(measurement, self.save)
        if self.histogram is not None:
            save_histogram(run, self.histogram)
