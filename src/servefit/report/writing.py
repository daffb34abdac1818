"""Writes reports to files, in the form of the file's suffix or in a given form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.report.contents import report_of
from servefit.report.exports import to_csv, to_json, to_markdown
from servefit.report.fleet_contents import fleet_report_of
from servefit.report.local_paths import report_with_local_paths
from servefit.report.page import to_html
from servefit.search.fleet.fleet_job import FleetJob
from servefit.state import write_atomically

if TYPE_CHECKING:
    from servefit.report.contents import Report
    from servefit.search.jobs.job import RecommendationJob

FORMS: dict[str, Callable[[Report], str]] = {
    "html": to_html,
    "json": to_json,
    "csv": to_csv,
    "markdown": to_markdown,
}
_ENDINGS = {".html": "html", ".htm": "html", ".json": "json", ".csv": "csv", ".md": "markdown", ".markdown": "markdown"}


def form_of(path: Path) -> str:
    """Return the form for the suffix of ``path``. Raises SpecError."""
    form = _ENDINGS.get(path.suffix.lower())
    if form is None:
        raise SpecError(
            "output", str(path), "does not say in which form", remedy="let it end in .html, .json, .csv or .md"
        )
    return form


def report_text(job: RecommendationJob | FleetJob, form: str) -> str:
    """Return the report of ``job`` in one of FORMS. Raises SpecError."""
    if form not in FORMS:
        raise SpecError.unknown("form", form, list(FORMS))
    report = fleet_report_of(job) if isinstance(job, FleetJob) else report_of(job)
    return FORMS[form](report_with_local_paths(report))


def write_report(job: RecommendationJob | FleetJob, path: Path, form: str | None = None) -> None:
    """Write the report of ``job`` to ``path``, in ``form``, or in that of its suffix if ``form`` is None. Raises
    SpecError, and StateError if the file cannot be written."""
    text = report_text(job, form or form_of(path))
    write_atomically(path, text.encode(), variable=None)
