"""The contract of a figure, tested on tests and recommendations of every kind."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from copy import deepcopy
from functools import cache
from math import isfinite
from typing import Any, ClassVar

import pytest
from tests.conformance.measured import Measured, measured

from servefit.report.figure_columns import columns_for
from servefit.report.table import markdown_lines, readable, write_csv
from servefit.search.figures.contract import Figure
from servefit.search.figures.outside import outside_figures, outside_values
from servefit.search.figures.registry import BUILT_IN, FIGURES, figure_names
from servefit.search.jobs.document import job_document
from servefit.search.results.recommendation import Recommendation

pytestmark = pytest.mark.integration

MAX_MEANING_CHARACTERS = 200
"""Of the sentence that says what a figure is: two lines of a terminal."""


@cache
def listed_figures() -> list[dict[str, Any]]:
    """Return what the command line says of all figures."""
    command = [sys.executable, "-m", "servefit", "figures", "--format", "json"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    figures: list[dict[str, Any]] = said["figures"]
    return figures


class FigureContract:
    """Subclassed for each figure, with the ``name`` under which it is found."""

    name: ClassVar[str]

    @pytest.fixture
    def figure(self) -> Figure:
        found = FIGURES.imported(self.name)
        assert isinstance(found, Figure)
        return found

    @pytest.fixture
    def tested(self) -> Measured:
        return measured()

    def test_the_figure_is_found_by_its_name_and_can_be_used(self, figure: Figure) -> None:
        assert figure.name == self.name
        assert figure_names().count(self.name) == 1
        assert [outside.problem for outside in outside_figures() if outside.name == self.name] in ([], [None])

    def test_the_figure_has_a_meaning_of_one_sentence(self, figure: Figure) -> None:
        assert figure.meaning[0].isupper() or figure.meaning[0].isdigit()
        assert figure.meaning.endswith(".")
        assert len(figure.meaning) <= MAX_MEANING_CHARACTERS

    def test_the_figure_is_known_somewhere_and_a_number_or_text_there(self, figure: Figure, tested: Measured) -> None:
        known = [value for subject in tested.subjects if (value := figure.of(subject)) is not None]
        assert known
        for value in known:
            if figure.digits is None:
                assert isinstance(value, str)
            else:
                assert isinstance(value, (int, float))
                assert not isinstance(value, bool)
                assert isfinite(value * figure.scale)
            assert json.loads(json.dumps(value)) == value

    def test_reading_it_changes_nothing_and_gives_the_same_again(self, figure: Figure, tested: Measured) -> None:
        for subject in tested.subjects:
            before = deepcopy(subject)
            first = figure.of(subject)
            assert figure.of(subject) == first
            assert subject == before

    def test_every_form_of_a_table_has_its_column(self, figure: Figure, tested: Measured) -> None:
        subjects = [subject for subject in tested.subjects if isinstance(subject, Recommendation)]
        columns = columns_for((figure,) if self.name in BUILT_IN else (), subjects)
        nth = [column.name for column in columns.figures].index(self.name)
        table = columns.table("Recommendations", subjects)
        assert [row[nth] for row in table.rows] == [figure.cell(subject) for subject in subjects]
        written = io.StringIO()
        write_csv(table, written)
        head, *lines = csv.reader(io.StringIO(written.getvalue()))
        assert head[nth] == columns.titles[nth]
        for line, subject in zip(lines, subjects, strict=True):
            assert line[nth] == ("" if figure.cell(subject) is None else str(figure.cell(subject)))
        assert len(list(markdown_lines(readable(table)))) == 2 + len(subjects)

    def test_json_holds_it(self, figure: Figure, tested: Measured) -> None:
        if self.name in BUILT_IN:
            assert outside_values(tested.subjects[0]).keys().isdisjoint([self.name])
            return
        for job in tested.jobs:
            documents = job_document(job)["recommendations"]
            for recommendation, document in zip(job.recommendations, documents, strict=True):
                assert document["figures"][self.name] == figure.of(recommendation)

    def test_the_command_line_lists_it(self, figure: Figure) -> None:
        [found] = [listed for listed in listed_figures() if listed["name"] == self.name]
        assert (found["column"], found["unit"], found["meaning"]) == (figure.title, figure.unit, figure.meaning)
        assert found["problem"] is None


@pytest.mark.parametrize("built_in", BUILT_IN)
class TestBuiltIn(FigureContract):
    @pytest.fixture(autouse=True)
    def _named(self, built_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "name", built_in, raising=False)
