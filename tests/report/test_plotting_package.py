"""The Python package plotly draws in notebooks alone: reports do without it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import servefit as sf
from servefit.api.job import Job
from servefit.report.page import to_html
from servefit.report.plotly_figure import plotly_figure
from servefit.report.rate_curve import rate_plot

if TYPE_CHECKING:
    from tests.report.conftest import Reports


@pytest.fixture
def _without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)


@pytest.mark.integration
@pytest.mark.usefixtures("_without_plotly")
def test_a_report_is_written_without_it(reports: Reports) -> None:
    assert "window.Plotly" in to_html(reports.report("one-profile"))


@pytest.mark.integration
@pytest.mark.usefixtures("_without_plotly")
def test_a_plot_for_a_notebook_says_which_extra_to_install(reports: Reports) -> None:
    job = Job.from_results(reports.job("one-profile"))
    with reports.at_home(), pytest.raises(sf.SpecError, match=r"^plot: 'latency-rate' .*servefit\[plot\]") as raised:
        job.plot()
    assert raised.value.remedy == "pip install 'servefit[plot]'"


@pytest.mark.integration
def test_a_notebook_draws_what_is_estimated_as_a_dotted_line_and_the_headroom(reports: Reports) -> None:
    with reports.at_home():
        plot = rate_plot(reports.job("over-http"))
    assert plot is not None
    figure = plotly_figure(plot)
    dashes = {trace.name: trace.line.dash for trace in figure.data}
    assert dashes["estimated by simulation"] == "dot"
    assert dashes["measured"] is None
    assert "headroom" in [annotation.text for annotation in figure.layout.annotations]


@pytest.mark.integration
def test_a_figure_in_a_notebook_has_no_button_that_sends_it_anywhere(reports: Reports) -> None:
    with reports.at_home():
        figure = Job.from_results(reports.job("over-http")).plot()
    assert figure.layout.modebar.remove == ("sendChartToCloud",)


@pytest.mark.thorough
@pytest.mark.integration
def test_every_plot_of_a_job_can_be_drawn_in_a_notebook(reports: Reports) -> None:
    job = Job.from_results(reports.job("over-http"))
    with reports.at_home():
        assert {"latency-rate", "against-throughput", "against-p95", "pareto-cost"} <= set(job.plots)
        for name in job.plots:
            assert job.plot(name).data, name
