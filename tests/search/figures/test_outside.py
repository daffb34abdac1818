"""Figures of other packages: what they add, and that a broken one is a warning and no more."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conformance.measured import Measured, measured
from tests.installed_packages import write_package

from servefit.report.job_tables import recommendations_table
from servefit.report.measured_tables import tests_table as table_of_tests
from servefit.report.table import write_csv
from servefit.search.figures.outside import outside_figures, outside_problems, outside_values
from servefit.search.figures.registry import figure_names
from servefit.search.jobs.document import job_document
from servefit.search.jobs.job import RecommendationJob
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from servefit.report.table import Table

Install = Callable[..., None]

_modules = count()
_IMPORT = "from servefit.search.figures.contract import Figure\n"


def declared(name: str, read: str, **fields: object) -> str:
    """The source of a module that offers a figure ``read`` from a trial."""
    given = {"name": name, "title": name.replace("_", " "), "unit": None, "meaning": "A figure.", **fields}
    rest = "".join(f", {field}={value!r}" for field, value in given.items())
    return f"{_IMPORT}import math\nFIGURE = Figure(of_trial={read}{rest})\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make an installed package that offers a figure called ``name``."""

    def install(package: str, name: str, source: str) -> None:
        # A process imports a module once, whatever folder it is found in later.
        module = f"{package}_figures_{next(_modules)}"
        folder = tmp_path / package
        write_package(folder, package, group="servefit.figures", name=name, target=f"{module}:FIGURE", source=source)
        monkeypatch.syspath_prepend(str(folder))

    return install


@pytest.fixture
def tested() -> Measured:
    return measured()


def read_again(job: RecommendationJob) -> RecommendationJob:
    return RecommendationJob.of(job.header, job.state, job.steps)


def column(table: Table, title: str) -> list[object]:
    nth = table.columns.index(title)
    return [row[nth] for row in table.rows]


@pytest.mark.integration
def test_a_figure_of_another_package_is_the_last_column_and_a_field_of_json(install: Install, tested: Measured) -> None:
    install("busy", "violation_points", declared("violation_points", "lambda trial: 100 * trial.violation"))
    job = read_again(tested.jobs[0])
    expected = [100 * recommendation.trial.violation for recommendation in job.recommendations]
    trials = [step.result for step in job.steps if isinstance(step.result, Trial)]
    assert figure_names()[-1] == "violation_points"
    assert recommendations_table(job).columns[-1] == "violation points"
    assert column(recommendations_table(job), "violation points") == expected
    assert column(table_of_tests(job), "violation points") == [100 * trial.violation for trial in trials]
    found = [recommendation["figures"] for recommendation in job_document(job)["recommendations"]]
    assert found == [{"violation_points": value} for value in expected]
    assert job.warnings == tested.jobs[0].warnings


@pytest.mark.integration
def test_without_other_packages_nothing_is_added(tested: Measured) -> None:
    assert outside_figures() == ()
    assert outside_values(tested.subjects[0]) == {}
    assert outside_problems(tested.subjects) == ()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("read", "said"),
    [
        ("lambda trial: 1 / 0", "it raised ZeroDivisionError: division by zero"),
        ("lambda trial: trial.nothing", "it raised AttributeError: 'Trial' object has no attribute 'nothing'"),
        ("lambda trial: exit(3)", "it raised SystemExit: 3"),
        ("lambda: 0", "it raised TypeError"),
        ("lambda trial: math.nan", "it gave nan, which is not finite"),
        ("lambda trial: math.inf", "it gave inf, which is not finite"),
        ("lambda trial: 10**400", "it raised OverflowError"),
        ("lambda trial: 'fast'", "it gave 'fast', which is no number"),
        ("lambda trial: True", "it gave True, which is no number"),
        ("lambda trial: [1.0]", "it gave [1.0], which is no number"),
        ("lambda trial: 1j", "it gave 1j, which is no number"),
        ("lambda trial: ['x' * 10**6]", "..., which is no number"),
    ],
)
def test_a_figure_that_raises_or_gives_nonsense_is_unknown_and_a_warning_names_it_and_its_package(
    install: Install, tested: Measured, read: str, said: str
) -> None:
    install("broken", "oddity", declared("oddity", read))
    job = read_again(tested.jobs[0])
    [warning] = set(job.warnings) - set(tested.jobs[0].warnings)
    assert warning.startswith("figure: 'oddity' of broken 1.0 is unknown: ")
    assert said in warning
    assert warning.endswith("; update or uninstall broken")
    assert set(column(recommendations_table(job), "oddity")) == {None}
    document = json.loads(json.dumps(job_document(job), allow_nan=False))
    assert [recommendation["figures"] for recommendation in document["recommendations"]] == [{"oddity": None}] * len(
        job.recommendations
    )


@pytest.mark.integration
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "cannot be imported from broken 1.0: ZeroDivisionError"),
        ("import sys; sys.exit()", "cannot be imported from broken 1.0: it ended Python"),
        ("FIGURE = 'a string'", "of broken 1.0 is no Figure but of the type str"),
        (declared("another", "lambda trial: 1"), "of broken 1.0 calls itself 'another'"),
        (
            declared("oddity", "lambda trial: 1", title="two\nlines"),
            "has a title that is no line of 1 to 32 characters",
        ),
        (declared("oddity", "lambda trial: 1", title=""), "has a title that is no line of 1 to 32 characters"),
        (declared("oddity", "lambda trial: 1", digits=0), "has 0 digits, not 1 to 17, or None for text"),
        (declared("oddity", "lambda trial: 1", scale=0.0), "has a scale of 0.0"),
        (declared("oddity", "None"), "is read by none or by several of of_summary, of_trial and of_recommendation"),
        (declared("oddity", "lambda trial: 1, of_summary=len"), "is read by none or by several"),
    ],
)
def test_a_figure_that_cannot_be_used_is_unknown(install: Install, tested: Measured, source: str, said: str) -> None:
    install("broken", "oddity", source)
    job = read_again(tested.jobs[0])
    [warning] = set(job.warnings) - set(tested.jobs[0].warnings)
    assert "oddity" in warning
    assert said in warning
    assert "broken" in warning
    assert set(column(recommendations_table(job), "oddity")) == {None}


@pytest.mark.integration
def test_a_figure_that_two_packages_offer_is_unknown_and_both_are_named(install: Install, tested: Measured) -> None:
    install("left", "oddity", declared("oddity", "lambda trial: 1"))
    install("right", "oddity", declared("oddity", "lambda trial: 2"))
    job = read_again(tested.jobs[0])
    [warning] = set(job.warnings) - set(tested.jobs[0].warnings)
    assert warning == "figure: 'oddity' is offered by left 1.0 and right 1.0; uninstall all but one of them"
    assert set(column(recommendations_table(job), "oddity")) == {None}


@pytest.mark.integration
def test_a_broken_one_costs_the_others_nothing(install: Install, tested: Measured) -> None:
    install("broken", "oddity", declared("oddity", "lambda trial: 1 / 0"))
    install("sound", "points", declared("points", "lambda trial: 7"))
    job = read_again(tested.jobs[0])
    assert set(column(recommendations_table(job), "points")) == {7}
    plain = recommendations_table(tested.jobs[0])
    for title in plain.columns:
        assert column(recommendations_table(job), title) == column(plain, title)


@pytest.mark.integration
def test_another_package_cannot_take_over_a_figure_of_servefit(install: Install, tested: Measured) -> None:
    install("thief", "samples", declared("samples", "lambda trial: 0"))
    assert outside_figures() == ()
    assert figure_names().count("samples") == 1


@pytest.mark.integration
def test_text_is_one_line_without_control_sequences(install: Install, tested: Measured) -> None:
    install(
        "painter",
        "colour",
        declared("colour", r"lambda trial: '\x1b[31mred\x1b[0m\n  \u202eand\x07 blue'", digits=None),
    )
    job = read_again(tested.jobs[0])
    assert outside_values(job.recommendations[0])["colour"] == "red and blue"
    written = io.StringIO()
    write_csv(recommendations_table(job), written)
    assert {row["colour"] for row in csv.DictReader(io.StringIO(written.getvalue()))} == {"red and blue"}


@pytest.mark.integration
def test_columns_of_one_title_are_told_apart_by_name(install: Install, tested: Measured) -> None:
    install("left", "first", declared("first", "lambda trial: 1", title="CPU %"))
    install("right", "second", declared("second", "lambda trial: 2", title="CPU %"))
    table = recommendations_table(read_again(tested.jobs[0]))
    assert table.columns[-2:] == ("first", "second")
    assert len(set(table.columns)) == len(table.columns)


@pytest.mark.integration
def test_numbers_of_numpy_are_plain_ones(install: Install, tested: Measured) -> None:
    source = declared("points", "lambda trial: numpy.float32(0.5)").replace("import math", "import numpy")
    install("sound", "points", source)
    value = outside_values(tested.jobs[0].recommendations[0])["points"]
    assert (type(value), value) == (float, 0.5)


@pytest.mark.integration
def test_a_column_that_is_only_for_what_is_known_stays_away_from_the_rest(install: Install, tested: Measured) -> None:
    install("sound", "points", declared("points", "lambda trial: None", only_where_known=True))
    assert "points" not in recommendations_table(tested.jobs[0]).columns
