"""Jobs on several hosts, as ``servefit recommend --fleet``, ``resume``, ``show`` and ``report`` run and read them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.annexes.fleet.output import print_fleet_and_exit, print_fleet_job
from servefit.annexes.fleet.report import fleet_report_of
from servefit.cli.output import Format
from servefit.search.fleet.fleet_job import read_fleet_job

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload.bodies import Bodies
    from servefit.report.contents import Report
    from servefit.search.request.job_request import JobRequest
    from servefit.search.storage.header import PlanRequest
    from servefit.search.storage.jobs import JobStore


def recommend(
    model: Path | Model,
    payload: Path | Bodies | None,
    request: JobRequest,
    plan: PlanRequest,
    *,
    hosts: Iterable[str],
    labels: Iterable[str],
    trust_pickle: bool,
    trust_code: bool,
    storage: str | None,
    form: Format,
    wide: bool,
    quiet: bool,
) -> None:
    """Run a job on the hosts that ``hosts`` and ``labels`` choose, print what it found, and exit with its status.

    Raises SpecError for what is no label.
    """
    from servefit.search.fleet.launching.agent_options import parse_labels
    from servefit.search.fleet.running import run_fleet_job
    from servefit.search.fleet.selection import Selection

    chosen = Selection(patterns=tuple(hosts), labels=tuple(parse_labels("label", labels).items()))
    print_fleet_and_exit(
        lambda progress: run_fleet_job(
            model,
            payload,
            request,
            chosen,
            plan,
            storage=storage,
            trust_pickle=trust_pickle,
            trust_code=trust_code,
            progress=progress,
        ),
        form=form,
        wide=wide,
        quiet=quiet,
    )


def resume(job: str, *, storage: str | None, form: Format, wide: bool, quiet: bool) -> None:
    """Go on with a job, print what it found, and exit with its status."""
    from servefit.search.fleet.running import resume_fleet_job

    print_fleet_and_exit(
        lambda progress: resume_fleet_job(job, progress=progress, storage=storage), form=form, wide=wide, quiet=quiet
    )


def show(store: JobStore, job: str, form: Format, *, wide: bool) -> None:
    """Print what a job found."""
    print_fleet_job(read_fleet_job(store, job), form, wide=wide)


def report_of_job(store: JobStore, job: str) -> Report:
    """Return the report of a job."""
    return fleet_report_of(read_fleet_job(store, job))
