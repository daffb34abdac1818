"""Every format of a report has the same figures; the errors where there can be no report."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.jobs import KINDS
from tests.report.reading import Page

from servefit.api.job import Job
from servefit.report.contents import report_of
from servefit.report.exports import to_csv, to_json, to_markdown
from servefit.report.local_paths import with_local_paths
from servefit.report.table import cell_text
from servefit.report.writing import report_text

if TYPE_CHECKING:
    from tests.report.conftest import Reports

DAILY = ("over-http", "predicted", "unmeasurable")
SMALL = [kind if kind in DAILY else pytest.param(kind, marks=pytest.mark.thorough) for kind in KINDS if kind != "large"]


@pytest.fixture(scope="module", params=SMALL)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def page(reports: Reports, kind: str) -> Page:
    return Page.read(reports.html(kind))


@pytest.mark.integration
def test_json_has_the_figures_of_all_tables_of_the_page(page: Page, reports: Reports, kind: str) -> None:
    tables = json.loads(to_json(reports.report(kind)))["tables"]
    assert page.tables
    for name, table in page.tables.items():
        assert len(table.rows) == len(tables[name]), name
        for cells, record in zip(table.rows, tables[name], strict=True):
            assert list(record) == table.columns, name
            for cell, value in zip(cells, record.values(), strict=True):
                assert cell.text == cell_text(value), name
                assert cell.value == (value if _is_number(value) else None), name


@pytest.mark.integration
def test_csv_has_every_digit_of_them(page: Page, reports: Reports, kind: str) -> None:
    lines = list(csv.reader(io.StringIO(to_csv(reports.report(kind)))))
    assert lines[0] == ["table", "row", "column", "value"]
    values = {(table, int(row), column): value for table, row, column, value in lines[1:]}
    assert len(values) == len(lines) - 1
    for name, table in page.tables.items():
        for number, cells in enumerate(table.rows, start=1):
            for column, cell in zip(table.columns, cells, strict=True):
                value = values.get((name, number, column))
                if cell.value is not None:
                    assert value is not None
                    assert float(value) == cell.value, (name, column)
                else:
                    assert (value is None) == (cell.text == "-"), (name, column, value)


@pytest.mark.integration
def test_markdown_shows_the_same_as_the_page(page: Page, reports: Reports, kind: str) -> None:
    text = to_markdown(reports.report(kind))
    lines = [_markdown_cells(line) for line in text.split("\n") if line.startswith("|")]
    for name, table in page.tables.items():
        assert table.columns in lines, name
        for cells in table.rows:
            assert [_on_a_line(cell.text) for cell in cells] in lines, name
    assert not re.search("<[a-z/!]", re.sub("(?s)\n```.*?\n```\n", "", text))


@pytest.mark.integration
def test_the_figures_of_every_test_over_time_are_in_the_page(page: Page, reports: Reports, kind: str) -> None:
    kept, report = json.loads(page.documents["timelines"])["tests"], reports.report(kind)
    assert [timeline["rows"] for timeline in kept] == [
        [list(row) for row in timeline.table.rows] for timeline in report.timelines
    ]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("over-http", "is met: deploy local-1c as a library with forest"),
        ("endpoint", "is met: deploy local-1c as an endpoint of forest"),
        ("predicted", "is predicted to be met: deploy ml.m5.large as an endpoint of forest"),
        ("unmet", "Nothing measured meets p95 <= 100 us at 500 requests/s"),
        ("unmeasurable", "Nothing could be measured"),
        ("unfinished", ", then cut off: servefit resume "),
        ("without-prices", "Deploy "),
    ],
)
def test_the_answer_is_a_sentence_in_every_form(reports: Reports, kind: str, sentence: str) -> None:
    report = reports.report(kind)
    assert sentence in Page.read(reports.html(kind)).sections["answer"]
    assert sentence in json.loads(to_json(report))["answer"]
    assert sentence in to_markdown(report)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("kind", "endpoint"), [("over-http", "over HTTP"), ("endpoint", "over HTTP"), ("predicted", "predicted")]
)
def test_the_winner_as_an_endpoint_stands_beside_the_model_alone(reports: Reports, kind: str, endpoint: str) -> None:
    alone, served = json.loads(to_json(reports.report(kind)))["tables"]["the_winner_as_an_endpoint"]
    assert (alone["measured"], served["measured"]) == ("in process", endpoint)
    assert alone["response p50 ms"] == alone["model p50 ms"] < served["response p50 ms"]
    assert alone["overhead p50 ms"] is None
    assert (served["overhead p50 ms"] is None) == (endpoint == "predicted")
    assert (served["samples"] == 0) == (endpoint == "predicted")
    assert served["max a minute"] < alone["max a minute"]


@pytest.mark.integration
def test_where_nothing_could_be_measured_the_report_says_why(reports: Reports) -> None:
    page = Page.read(reports.html("unmeasurable"))
    assert "no kernel was built for this machine" in page.sections["answer"]
    assert [cell.text for cell in page.tables["compilation"].rows[0]][:2] == ["xgboost", "FAILED"]


@pytest.mark.integration
def test_raw_samples_that_were_deleted_are_missed_and_nothing_else(reports: Reports) -> None:
    page, whole = (Page.read(reports.html(kind)) for kind in ("without-samples", "one-profile"))
    assert "raw samples of the tests are not on this host" in page.sections["timeline"]
    assert whole.tables.keys() - page.tables.keys() == {name for name in whole.tables if name.endswith("over_time")}


@pytest.mark.integration
@pytest.mark.parametrize("step", ["first", "last"])
def test_a_single_test_without_raw_samples_is_counted(reports: Reports, step: str) -> None:
    job = reports.job("over-http")
    files = sorted((reports.state / "jobs" / "over-http" / "measurements").iterdir())
    gone = files[0] if step == "first" else files[-1]
    content = gone.read_bytes()
    gone.unlink()
    try:
        with reports.at_home():
            report = report_of(job)
    finally:
        gone.write_bytes(content)
    (section,) = (section for section in report.sections if section.name == "timeline")
    assert len(report.timelines) == len(files) - 1
    assert "The raw samples of 1 test are not here." in section.text


@pytest.mark.thorough
@pytest.mark.integration
def test_an_unknown_job_is_refused_in_one_line(reports: Reports, tmp_path: Path) -> None:
    reports.job("unmeasurable")
    ended = _servefit(reports, "report", "unmeasurible", "-o", str(tmp_path / "report.html"))
    assert ended.returncode == 2
    assert ended.stderr == "servefit: job: 'unmeasurible' is not known; did you mean 'unmeasurable'?\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
@pytest.mark.integration
def test_a_report_that_cannot_be_written_is_told_in_one_line(reports: Reports, tmp_path: Path) -> None:
    reports.job("unmeasurable")
    (tmp_path / "file").write_text("in the way")
    ended = _servefit(reports, "report", "unmeasurable", "-o", str(tmp_path / "file" / "report.html"))
    assert ended.returncode == 4
    assert ended.stderr.startswith(f"servefit: cannot write {tmp_path / 'file' / 'report.html'}: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.integration
def test_a_name_that_says_no_form_is_refused_in_one_line(reports: Reports, tmp_path: Path) -> None:
    ended = _servefit(reports, "report", "unmeasurable", "-o", str(tmp_path / "report.pdf"))
    assert ended.returncode == 2
    assert "does not say in which form; let it end in .html" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.thorough
@pytest.mark.integration
def test_a_job_writes_the_report_that_the_command_line_writes(reports: Reports, tmp_path: Path) -> None:
    job = Job.from_results(reports.job("unmeasurable"))
    with reports.at_home():
        job.report(tmp_path / "own.md")
    ended = _servefit(reports, "report", "unmeasurable", "-o", str(tmp_path / "command.md"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (tmp_path / "own.md").read_text() == (tmp_path / "command.md").read_text()


@pytest.mark.integration
@pytest.mark.parametrize(
    "form", ["html", *(pytest.param(form, marks=pytest.mark.thorough) for form in ("csv", "markdown"))]
)
def test_a_report_says_nothing_of_the_folders_of_whoever_made_it(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    job = reports.job("measured")
    monkeypatch.chdir(tmp_path)
    assert str(reports.state) in job.model.source
    with reports.at_home():
        text = report_text(report_of(job), form)
    assert str(reports.state) not in text
    assert str(Path.home()) not in text
    if form == "markdown":
        assert "\nmodel: model.ubj\n" in text
        assert "\npayload: payload.npy\n" in text


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("gcc said: /home/me/jobs/a.c:3: error", "gcc said: a.c:3: error"),
        ("see /work/here/model.ubj, or not", "see model.ubj, or not"),
        ("500 requests/s at http://127.0.0.1:80/v2/models and /ping", None),
        ("models/fraud.ubj is ../lib/other.so", None),
    ],
)
def test_a_path_is_told_from_the_current_folder_or_by_its_name(
    sentence: str, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/work/here"))
    assert with_local_paths(sentence) == (told or sentence)


def _servefit(reports: Reports, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SERVEFIT_HOME": str(reports.state)}
    return subprocess.run(
        [sys.executable, "-m", "servefit", *arguments],
        capture_output=True, text=True, timeout=120, check=False, env=environment,
    )  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _markdown_cells(line: str) -> list[str]:
    """The texts of a row, with what was escaped as it was."""
    inner = line.removeprefix("| ").removesuffix(" |").replace("\\|", "\0")
    cells = (cell.replace("\0", "|").replace("!\\[", "![") for cell in inner.split(" | "))
    return [_on_a_line(cell.replace("&lt;", "<").replace("&amp;", "&")) for cell in cells]


def _on_a_line(text: str) -> str:
    return " ".join(text.split())
