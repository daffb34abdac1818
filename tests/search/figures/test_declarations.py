"""Tables and documents hold the built-in figures as they are declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from tests.conformance.measured import Measured, measured

from servefit.report.job_tables import recommendations_table
from servefit.report.measured_tables import instances_table
from servefit.report.measured_tables import tests_table as table_of_tests
from servefit.search.figures.registry import BUILT_IN, built_in_figures, figure, figures
from servefit.search.jobs.document import endpoint_document, recommendation_document, step_document
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from servefit.search.figures.contract import Subject

_NOWHERE = object()


@pytest.fixture
def tested() -> Measured:
    return measured()


def documents(tested: Measured) -> Iterator[tuple[Subject, Mapping[str, Any]]]:
    """What figures are read from, with the JSON that holds them."""
    for job in tested.jobs:
        for recommendation in job.recommendations:
            yield recommendation, {**recommendation_document(recommendation), "endpoint": {}}
            if (endpoint := recommendation.endpoint) is not None:
                yield endpoint, {"endpoint": endpoint_document(endpoint, None)}
        for step in job.steps:
            if isinstance(step.result, Trial):
                yield step.result, step_document(step)["metrics"]


def at(document: Mapping[str, Any], name: str) -> Any:
    """What ``document`` holds under the name of a figure."""
    found: Any = document
    for part in re.findall(r"\w+", name):
        if isinstance(found, list):
            found = found[int(part)]
        elif found is None or part not in found:
            return _NOWHERE
        else:
            found = found[part]
    return found


@pytest.mark.integration
@pytest.mark.parametrize("name", BUILT_IN)
def test_json_holds_every_figure_under_its_name(tested: Measured, name: str) -> None:
    held = [
        (figure(name).of(subject), found)
        for subject, document in documents(tested)
        if (found := at(document, name)) is not _NOWHERE
    ]
    assert held
    for value, found in held:
        if isinstance(found, Mapping):
            assert all(f"{key}={text}" in str(value).split() for key, text in found.items())
        else:
            assert found == (str(value) if isinstance(found, str) else value)


def test_titles_are_told_apart() -> None:
    titles = [figure.title for figure in built_in_figures()]
    assert len(set(titles)) == len(titles)


@pytest.mark.integration
def test_energy_and_power_are_columns_where_they_are_known_and_nowhere_else(tested: Measured) -> None:
    for job in tested.jobs:
        on_gpu = job.name == "on-a-gpu"
        for table in (recommendations_table(job), instances_table(job), table_of_tests(job)):
            assert table.columns[-2:] == ("J/million", "GPU W") if on_gpu else "GPU W" not in table.columns
            assert ("J/million" in table.columns) == on_gpu
            assert "package W" not in table.columns
    [job] = [job for job in tested.jobs if job.name == "on-a-gpu"]
    for recommendation, row in zip(job.recommendations, recommendations_table(job).rows, strict=True):
        energy, power = row[-2:]
        if recommendation.trial.configuration.gpu is None:
            assert (energy, power) == (None, None)
        else:
            assert power == recommendation.trial.judged.gpu_power_w
            assert energy == pytest.approx(1e6 * power / recommendation.trial.judged.throughput_per_s)


def test_a_name_that_servefit_has_no_figure_of_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError, match="tail_ratio"):
        figures(["samples", "tail_ratio"])
