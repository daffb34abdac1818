"""The worked figure in examples/tail-ratio, installed like any package, and its page."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.examples.conftest import EXAMPLES, ROOT, passed_of_contract, run_servefit
from tests.report.jobs import KINDS

if TYPE_CHECKING:
    from tests.examples.conftest import Installed

pytestmark = pytest.mark.thorough

EXAMPLE = EXAMPLES / "tail-ratio"

Run = Callable[..., str]


@pytest.fixture(scope="session")
def installed(installed_example: Installed) -> Path:
    return installed_example("tail-ratio")


@pytest.fixture(scope="module")
def run(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs servefit with the plug-in, where there is a job called over-http."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(home))
        KINDS["over-http"]("over-http")

    def run(*arguments: str, plug_ins: Path = installed) -> str:
        ended = run_servefit(home, plug_ins, *arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout + "".join(f"\n{line}" for line in ended.stderr.splitlines() if "tail_ratio" in line)

    return run


@pytest.mark.integration
def test_the_figure_is_listed_with_its_package(run: Run) -> None:
    listed = json.loads(run("figures", "--format", "json"))["figures"]
    [found] = [figure for figure in listed if figure["name"] == "tail_ratio"]
    assert (found["column"], found["digits"], found["package"]) == ("p99 / p50", 2, "servefit-tail-ratio 1.0")
    assert "servefit-tail-ratio 1.0" in run("figures")


@pytest.mark.integration
def test_json_csv_and_markdown_of_a_job_have_it(run: Run) -> None:
    document = json.loads(run("show", "over-http", "--format", "json"))
    ratios = [recommendation["figures"]["tail_ratio"] for recommendation in document["recommendations"]]
    for ratio, recommendation in zip(ratios, document["recommendations"], strict=True):
        latency_ms = recommendation["model_latency_ms"]
        known = latency_ms["p99"] is not None
        assert ratio == (latency_ms["p99"] / latency_ms["p50"] if known else None)
    assert any(ratio is not None for ratio in ratios)
    rows = list(csv.DictReader(io.StringIO(run("show", "over-http", "--format", "csv"))))
    assert [row["p99 / p50"] for row in rows] == ["" if ratio is None else str(ratio) for ratio in ratios]
    head, _, *lines = run("show", "over-http", "--format", "markdown").splitlines()
    assert head.endswith(" p99 / p50 |")
    for line, ratio in zip(lines, ratios, strict=True):
        assert line.endswith(" - |" if ratio is None else f" {ratio:.2g} |"), "two digits are declared"


@pytest.mark.integration
def test_the_report_has_it(run: Run) -> None:
    tables = json.loads(run("report", "over-http", "--format", "json"))["tables"]
    for name in ("recommendations_best_first", "all_tests"):
        assert all("p99 / p50" in row for row in tables[name])
    assert ">p99 / p50</button>" in run("report", "over-http", "--format", "html")


@pytest.mark.integration
def test_the_plug_in_keeps_the_promises_of_a_figure(installed: Path, tmp_path: Path) -> None:
    assert passed_of_contract(EXAMPLE / "test_figure_contract.py", installed, tmp_path) >= 7


@pytest.mark.integration
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
        ("float('nan')", "gave nan, which is not finite"),
        ("'slow'", "gave 'slow', which is no number"),
    ],
)
def test_a_broken_one_is_a_warning_and_a_column_of_dashes(
    run: Run, installed: Path, tmp_path: Path, wrong: str, said: str
) -> None:
    broken = tmp_path / "plugins"
    shutil.copytree(installed, broken, ignore=shutil.ignore_patterns("__pycache__"))
    source = broken / "servefit_tail_ratio.py"
    right = "return None if p99_ms is None or not p50_ms else p99_ms / p50_ms"
    assert right in source.read_text()
    source.write_text(source.read_text().replace(right, f"return {wrong}"))
    head, *lines = run("show", "over-http", "--format", "csv", plug_ins=broken).rstrip().splitlines()
    assert head.endswith(",p99 / p50")
    *rows, _, warning = lines
    assert all(row.endswith(",") for row in rows)
    assert warning == (
        f"warning: figure: 'tail_ratio' of servefit-tail-ratio 1.0 is unknown: it {said}; "
        "update or uninstall servefit-tail-ratio"
    )


def test_what_the_documentation_shows_is_the_plug_in_as_it_is() -> None:
    page = (ROOT / "docs" / "adding-a-figure.md").read_text()
    shown = re.findall(r"^```(?:\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert (EXAMPLE / "servefit_tail_ratio.py").read_text() in shown, "the whole file"
    files = [
        (EXAMPLE / name).read_text() for name in ("servefit_tail_ratio.py", "test_figure_contract.py", "pyproject.toml")
    ]
    for block in shown:
        assert any(block in text for text in files), block
