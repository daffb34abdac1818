"""``servefit report``: all that a job found, on one page."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from servefit.annexed import from_annex
from servefit.cli.options import HostOption, JobArgument, StorageOption
from servefit.cli.output import print_text
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import OUTPUT

if TYPE_CHECKING:
    from servefit.report.contents import Report


class Form(StrEnum):
    HTML = "html"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


def report(
    job: JobArgument,
    output: Annotated[
        Path | None, option("The file: .html, .json, .csv or .md. Or stdout.", OUTPUT, "FILE", "--output", "-o")
    ] = None,
    form: Annotated[
        Form | None, option("The form, if not the one that FILE ends in.", OUTPUT, None, "--format")
    ] = None,
    host: HostOption = None,
    storage: StorageOption = None,
) -> None:
    """Write all that a job found: the answer, its evidence, every test, the machine, and how to repeat it.

    An HTML page needs nothing but a browser; JSON, CSV and Markdown hold the same figures. Of a job on a fleet: its
    plan, and what other rates would cost.

    Example: servefit report fraud-20261124-120000 -o report.html
    """
    from servefit.report.writing import form_of, report_text, write_report

    if output is None:
        if form is None:
            raise SpecError("output", None, "is missing", remedy="say -o report.html, or --format markdown for stdout")
        print_text(report_text(_report(job, storage=storage, host=host), form))
    else:
        # What is wrong with the name is said before anything is read.
        chosen = form or form_of(output)
        write_report(_report(job, storage=storage, host=host), output, chosen)


def _report(name: str, *, storage: str | None, host: str | None) -> Report:
    """Return the report of a job; of one on a fleet, that of all of it, or of what it does on hosts like ``host``."""
    from servefit.report.contents import report_of
    from servefit.search.jobs.lifecycle import read_job
    from servefit.search.storage.jobs import JobStore

    with JobStore.open(storage) as store:
        if host is None and store.job(name).header.hosts:
            report: Report = from_annex("fleet", "jobs", field="job", value=name).report_of_job(store, name)
            return report
        return report_of(read_job(store, name, host=host))
