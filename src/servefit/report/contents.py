"""The contents of a report in their order: sentences, tables and plots, independent of the form.

``page`` makes a page of them, and ``exports`` the other forms; all forms hold the same tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.backends.model.given import NOTHING_GIVEN
from servefit.backends.model.types import Format
from servefit.backends.payload.bodies import Bodies
from servefit.report.against import against_plots
from servefit.report.cards import Card, KeyFigure, cards, key_figures, serving_command
from servefit.report.job_plots import compilation_plot, latency_plot, pareto_plots
from servefit.report.local_paths import local_path, with_local_paths
from servefit.report.measured_tables import (
    endpoint_table,
    failures_table,
    host_table,
    instances_table,
    noise_table,
    skipped_table,
    subject_table,
    tests_table,
)
from servefit.report.quality_plot import quality_plot
from servefit.report.rate_curve import rate_plot
from servefit.report.search_plots import expectation_plot, importance_plot, order_plot
from servefit.report.sentences import headline, hindrances, reasons
from servefit.report.size_plot import size_plot
from servefit.report.time_spent import time_plot
from servefit.report.timeline import Timeline, timelines
from servefit.search.jobs.document import job_document
from servefit.search.request.config_file import config_text
from servefit.search.results.recommendation import Trial
from servefit.search.storage.job_folder import PAYLOAD_FILE, job_folder

if TYPE_CHECKING:
    from servefit.profiler.evidence.limits import Verdict
    from servefit.report.plot import Plot
    from servefit.report.table import Table
    from servefit.search.jobs.job import RecommendationJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section, identified by ``name``. Plots, each with its table, come before ``tables``. ``code`` is a file to
    copy. One that is not ``listed`` belongs to the one before, and the page does not lead to it."""

    name: str
    title: str
    text: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str | None = None
    listed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The contents of a report.

    ``answer`` is the recommendation in a sentence with its evidence, ``reasons`` are further sentences about it, and
    ``key_figures`` the figures that readers look for first. ``glance`` has the plots that show why, ``cards`` the
    facts of the model and the host, and ``command`` serves the recommendation, None where there is none: with the
    answer, they are the first screen of the page. ``limits_ms`` are the limits of the SLA, by name.

    ``timelines`` are of the tests whose raw samples are on this host, and ``shown_step`` is the test that is shown
    first. ``document`` is the job in its JSON form.
    """

    job: str
    verdict: Verdict | None
    answer: str
    key_figures: tuple[KeyFigure, ...]
    glance: Section
    cards: tuple[Card, ...]
    command: str | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    timelines: tuple[Timeline, ...]
    shown_step: int | None
    limits_ms: tuple[tuple[str, float], ...]
    document: dict[str, Any]

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables of the report, in their order, without repetitions."""
        return (
            *(
                table
                for section in (self.glance, *self.sections)
                for table in (*(plot.table for plot in section.plots), *section.tables)
            ),
            *(timeline.table for timeline in self.timelines),
        )


def report_of(job: RecommendationJob) -> Report:
    """Return the report of a job, finished or not. Raw samples are read from its folder, if that is on this host."""
    times = timelines(job, job_folder(job.name))
    return Report(
        job=job.name,
        verdict=None if job.best is None else job.best.trial.verdict,
        answer=headline(job),
        key_figures=key_figures(job),
        glance=_without_empty(_glance(job)),
        cards=cards(job),
        command=serving_command(job),
        reasons=tuple(reasons(job)) if job.best is not None else tuple(hindrances(job)),
        warnings=job.warnings,
        sections=tuple(_without_empty(section) for section in _sections(job, times) if _has_content(section)),
        timelines=times,
        shown_step=_shown_step(job, times),
        limits_ms=tuple(
            (f"SLA {threshold.percentile} {threshold.limit_text}", threshold.limit_ms)
            for threshold in job.request.sla.thresholds
        ),
        document=job_document(job),
    )


def plots_of(job: RecommendationJob) -> tuple[Plot, ...]:
    """Return the plots of the report that have points. Raw samples are read of the recommendation alone."""
    return tuple(plot for section in (_glance(job), *_sections(job, ())) for plot in section.plots if plot.has_points)


def _glance(job: RecommendationJob) -> Section:
    """Return the plots of the first screen: why the recommendation holds, and what it is better than."""
    curve = rate_plot(job)
    return Section(name="glance", title="Why", plots=(*([] if curve is None else [curve]), *against_plots(job)))


def _sections(job: RecommendationJob, times: tuple[Timeline, ...]) -> tuple[Section, ...]:
    return (
        Section(
            name="recommendations",
            title="Recommendations",
            tables=(instances_table(job), endpoint_table(job)),
        ),
        Section(name="pareto", title="Cost and latency", plots=(*pareto_plots(job), *_quality_plots(job))),
        Section(name="latency", title="Latency and throughput", plots=(latency_plot(job), *_size_plots(job))),
        Section(name="timeline", title="Load tests over time", text=_timeline_text(job, times)),
        Section(name="compilation", title="Compilation", plots=(compilation_plot(job),)),
        Section(
            name="search",
            title="The search",
            plots=(time_plot(job), order_plot(job), expectation_plot(job), importance_plot(job)),
            tables=(tests_table(job), failures_table(job), skipped_table(job)),
        ),
        Section(name="host", title="Host and noise", tables=(host_table(job), noise_table(job))),
        Section(
            name="reproduce",
            title="How to reproduce",
            text=(
                "Save this as job.yaml beside the model and its payload, then: "
                f"servefit recommend --config job.yaml{_consent(job)}",
            ),
            tables=(subject_table(job),),
            code=_config(job),
        ),
    )


def _quality_plots(job: RecommendationJob) -> tuple[Plot, ...]:
    plot = quality_plot(job)
    return () if plot is None else (plot,)


def _size_plots(job: RecommendationJob) -> tuple[Plot, ...]:
    plot = size_plot(job)
    return () if plot is None else (plot,)


def _config(job: RecommendationJob) -> str:
    """Return the job as a config file beside its model and its payload. What has no file of its own, such as an array,
    is the file that the job, or the state folder, keeps of it; a payload that was drawn has none."""
    model, payload = job.model, job.payload
    model_given = _names_a_file(model.source) or not model.file.exists()
    payload_given = _names_a_file(payload.source) or payload.sizes
    text = config_text(
        job.request,
        model=local_path(model.source) if model_given else model.file.name,
        payload=None if payload.synthetic else local_path(payload.source) if payload_given else PAYLOAD_FILE,
        # What was said of its inputs is in the file that is kept.
        given=model.given if model_given else NOTHING_GIVEN,
        bodies=_bodies(job),
        sizes={size.name: size.drawn for size in job.model.signature.sizes if size.drawn and job.payload.synthetic},
    )
    # Values of variables are what was measured, paths or not.
    return re.sub("(?m)^(arrivals|quality): .*$", lambda line: with_local_paths(line[0]), text)


def _names_a_file(source: str) -> bool:
    return bool(Path(source).suffix) or Path(source).exists()


def _bodies(job: RecommendationJob) -> Bodies | None:
    """Return what was said of the requests that a script was sent; None for a model that takes rows."""
    said = job.payload
    if not job.model.signature.opaque:
        return None
    return Bodies(source=said.source, content_type=said.content_type, accept=said.accept, each_line=said.each_line)


def _consent(job: RecommendationJob) -> str:
    """Return the option without which the model is not opened; files of jobs do not hold it."""
    if job.model.format is Format.SCRIPT:
        return " --trust-code"
    return "" if job.model.format.that_runs_code is None else " --trust-pickle"


def _timeline_text(job: RecommendationJob, times: tuple[Timeline, ...]) -> tuple[str, ...]:
    """Return the sentences about the load tests over time; none if there were no tests."""
    tests = [step.result for step in job.steps if isinstance(step.result, Trial)]
    missing = len(tests) - len(times)
    if not tests:
        return ()
    if not times:
        return ("The raw samples of the tests are not on this host any more, or never were.",)
    text = "Percentiles are of the requests that were due in each interval, where they are enough to tell."
    absent = "1 test are" if missing == 1 else f"{missing} tests are"
    return (text, f"The raw samples of {absent} not here.") if missing else (text,)


def _shown_step(job: RecommendationJob, times: tuple[Timeline, ...]) -> int | None:
    """Return the number of the test that the recommendation is based on."""
    if not times:
        return None
    here = {timeline.step for timeline in times}
    wanted = () if job.best is None else (job.best.step, job.best.beside_step)
    return next((step for step in wanted if step in here), times[-1].step)


def _has_content(section: Section) -> bool:
    tables = (*(plot.table for plot in section.plots), *section.tables)
    return bool(section.text or section.code or any(table.rows for table in tables))


def _without_empty(section: Section) -> Section:
    """Return ``section`` without plots that have no points and tables that have no rows."""
    plots = tuple(plot for plot in section.plots if plot.has_points)
    # Tables are kept: figures that cannot be drawn can still be read.
    undrawn = tuple(plot.table for plot in section.plots if not plot.has_points and plot.table.rows)
    return Section(
        name=section.name,
        title=section.title,
        text=section.text,
        plots=plots,
        tables=(*undrawn, *(table for table in section.tables if table.rows)),
        code=section.code,
        listed=section.listed,
    )
