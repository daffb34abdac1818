"""``servefit figures`` lists figures, and reports those of other packages that cannot be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.installed_packages import write_package

from servefit.cli.profiling_output import profiled_table
from servefit.profiler.procedures.profile import profile
from servefit.search.figures.registry import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Sources

pytestmark = pytest.mark.integration

Run = Callable[..., subprocess.CompletedProcess[str]]

DECLARED = """from servefit.search.figures.contract import Figure
FIGURE = Figure(name="odd", title="odd", unit="points", meaning="A figure.", digits=2, of_trial=lambda trial: 1)
"""
PACKAGES = {
    "left": ("odd", DECLARED),
    "right": ("odd", DECLARED),
    "sound": ("odd", DECLARED),
    "broken": ("bad", "1 / 0"),
}
"""The name that each package offers, and what its module holds."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs ``servefit figures`` with these of the packages installed."""

    def run(*arguments: str, installed: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "-".join(("plug-ins", *installed))
        for package in installed:
            name, source = PACKAGES[package]
            target = f"{package}_figures:FIGURE"
            write_package(folder, package, group="servefit.figures", name=name, target=target, source=source)
        return subprocess.run(
            [sys.executable, "-m", "servefit", "figures", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(folder)},
        )

    return run


def test_every_figure_is_listed_with_its_column_its_unit_and_what_it_means(run: Run) -> None:
    ended = run("--format", "json")
    assert (ended.returncode, ended.stderr) == (0, "")
    listed = json.loads(ended.stdout)["figures"]
    assert [figure["name"] for figure in listed] == list(BUILT_IN)
    [hourly] = [figure for figure in listed if figure["name"] == "cost_per_hour"]
    assert (hourly["column"], hourly["unit"], hourly["digits"]) == ("$/hour", "money", 3)
    assert all(figure["meaning"] and figure["package"] is None and figure["problem"] is None for figure in listed)


def test_a_figure_of_another_package_comes_last_with_the_name_of_the_package(run: Run) -> None:
    ended = run("--format", "csv", installed=("sound",))
    assert (ended.returncode, ended.stderr) == (0, "")
    head, *lines = ended.stdout.splitlines()
    assert head == "name,column,unit,digits,meaning,package"
    assert lines[-1] == "odd,odd,points,2,A figure.,sound 1.0"


def test_figures_that_cannot_be_used_are_named_with_the_reason(run: Run) -> None:
    ended = run("--format", "json", installed=("left", "right", "broken"))
    assert ended.returncode == 0
    listed = {figure["name"]: figure["problem"] for figure in json.loads(ended.stdout)["figures"] if figure["problem"]}
    assert listed == {
        "bad": "figure: 'bad' cannot be imported from broken 1.0: ZeroDivisionError: division by zero; "
        "update or uninstall broken",
        "odd": "figure: 'odd' is offered by left 1.0 and right 1.0; uninstall all but one of them",
    }
    assert ended.stderr.splitlines() == [f"warning: {listed['bad']}", f"warning: {listed['odd']}"]


def test_the_power_of_a_measurement_is_told_where_it_is_known(sources: Sources) -> None:
    found = profile(sources.xgboost, payload=sources.payload, backend="xgboost", duration_s=0.2, allow_noise=True)
    unknown = replace(found.summary, package_power_w=None, gpu_power_w=None)
    known = replace(found.summary, package_power_w=42.5, gpu_power_w=63.25)
    before, after = (profiled_table(replace(found, summary=summary)).rows for summary in (unknown, known))
    assert [row for row in after if row not in before] == [["package W", 42.5], ["GPU W", 63.25]]
