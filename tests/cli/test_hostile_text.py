"""Text of other people in what commands print: it changes no terminal, forges no line, and is no formula."""

from __future__ import annotations

import csv
import io
import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost
from tests.cli.terminals import in_terminal
from tests.report.story import GIB, MODEL, PAYLOAD, PROFILES, Story, configuration, simulated_host

from servefit.cli.logs import log_to_stderr
from servefit.cli.progress import fitted
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.report.table import Table, write_csv
from servefit.search.request.job_request import EnvironmentRange, JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.recommendation import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Finished, Servefit, Sources
    from tests.conftest import HttpServer

HOSTILE = "=cmd|'/c calc'!A1\x1b]0;taken\x07\x1b[2J\x1b\x9b31m\nFORGED: all is well\r\u202egnp.exe\x08"
"""A formula, orders to a terminal, the beginning of a line, and text that turns around."""

JOB = "hostile-text"
FORMS = ("table", "json", "csv", "markdown")

_ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_STYLES = re.compile(r"\x1b\[[0-9;]*m")
_NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?")


def assert_harmless(text: str) -> None:
    assert not _ORDERS.search(text), ascii(text)
    assert not re.search("^[ |\"'-]*FORGED", text, re.MULTILINE), ascii(text)


def assert_no_formula(text: str) -> None:
    cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
    assert [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell and not _NUMBER.fullmatch(cell)] == []


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a job of which every text that comes from outside is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(folder))
        profile = InstanceProfile(
            name=HOSTILE, vcpus=1, memory_bytes=4 * GIB, price_per_hour=0.01, price_source=HOSTILE
        )
        variable = EnvironmentRange(variable="OMP_WAIT_POLICY", values=(HOSTILE,))
        story = Story.of(
            JobRequest(name=JOB, sla=Sla(thresholds=parse_sla("p95=20ms"), rate_per_s=500.0), environment=(variable,)),
            model=replace(MODEL, source=f"models/{HOSTILE}", warnings=(f"the file says {HOSTILE}",)),
            payload=replace(PAYLOAD, source=HOSTILE, unused_columns=(HOSTILE,)),
            host=simulated_host(cpu_model=HOSTILE, operating_system=HOSTILE),
            profiles=(profile, PROFILES[1]),
        )
        story.compiles("forest")
        story.fails_to_compile("tl2cgen", f"gcc said: {HOSTILE}")
        story.tests(configuration("forest", environment=(("OMP_WAIT_POLICY", HOSTILE),)))
        story.crashes(configuration("forest", vcpus=2), f"predict_fn raised RuntimeError: {HOSTILE}")
        story.keep(
            skipped=(
                Skipped(kind="backend", name="treelite", reason=HOSTILE),
                Skipped(kind="instance_profile", name=HOSTILE, reason=HOSTILE),
            ),
            remarks=(HOSTILE,),
        )
        yield folder


def _printed(ended: Finished) -> str:
    assert ended.status in (0, 3), ended.stderr
    return ended.stdout + ended.stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    "command",
    [
        *("show --wide", "steps --wide", "jobs"),
        *(pytest.param(command, marks=pytest.mark.thorough) for command in ("show", "steps")),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_told_of_a_job_is_harmless(servefit: Servefit, home: Path, command: str, form: str) -> None:
    name, *options = command.split()
    subject = [] if name == "jobs" else [JOB]
    ended = servefit(name, *subject, *options, "--format", form, SERVEFIT_HOME=str(home))
    assert_harmless(_printed(ended))
    if form == "csv":
        assert_no_formula(ended.stdout)


@pytest.mark.integration
@pytest.mark.parametrize("suffix", ["html", "json", "csv", "md"])
def test_reports_are_harmless_in_every_form(servefit: Servefit, home: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"report.{suffix}"
    assert servefit("report", JOB, "-o", file, SERVEFIT_HOME=str(home)).status == 0
    # A script in the page may hold any character, and figures there are JSON.
    text = re.sub("(?s)<script.*?</script>", "", file.read_text())
    if suffix == "html":
        assert not _ORDERS.search(text)
    else:
        assert_harmless(text)
    if suffix == "csv":
        assert_no_formula(text)


@pytest.mark.integration
def test_a_terminal_is_sent_no_order_but_styles(forks: Path, home: Path) -> None:
    for command in ("show", "steps"):
        ended = in_terminal(forks, 2000, (command, JOB), {"SERVEFIT_HOME": str(home)})
        assert "cmd" in ended.stdout
        assert_harmless(_STYLES.sub("", ended.stdout + ended.stderr))


@pytest.mark.integration
def test_files_columns_profiles_and_variables_that_are_given_are_harmless(servefit: Servefit, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "|")
    columns = [f"column {nth}" for nth in range(4)]
    rows = np.random.default_rng(0).normal(size=(20, 4))
    booster = xgboost.train({}, xgboost.DMatrix(rows, rows[:, 0], feature_names=columns), num_boost_round=2)
    model, payload = tmp_path / name, tmp_path / "payload.csv"
    model.write_bytes(booster.save_raw("ubj"))
    with payload.open("w", newline="") as file:
        csv.writer(file).writerows([[*columns, HOSTILE], *([*row, 0] for row in rows)])
    quick = ("-b", "forest", "--profile", "local-1c", "--duration", "0.2s", "--allow-noise")
    printed = servefit("profile", model, "--payload", payload, *quick)
    assert printed.status == 0, printed.stderr
    assert "left out of every request: =cmd" in printed.stderr
    assert_harmless(printed.stdout + printed.stderr)
    for arguments in (
        ("profile", model.with_name(f"no {name}"), "--quiet"),
        ("profile", model, "--profile", HOSTILE, "--quiet"),
        ("profile", model, "--payload", model.with_name(f"no {name}"), "--quiet"),
        ("recommend", model, "--env", f"{HOSTILE}=1", "--quiet"),
        ("show", HOSTILE),
    ):
        refused = servefit(*arguments)
        assert refused.status == 2
        assert len(refused.stderr.splitlines()) == 1, refused.stderr
        assert_harmless(refused.stderr)


@pytest.mark.integration
def test_what_a_server_answers_is_harmless(servefit: Servefit, sources: Sources, http_server: HttpServer) -> None:
    with http_server(lambda path, body: (500, HOSTILE.encode(), {})) as url:
        ended = servefit("load", url, "--protocol", "json", "--payload", sources.payload, "--users", "1")
    assert "cmd" in ended.stderr
    assert_harmless(ended.stdout + ended.stderr)


def test_what_is_logged_and_what_moves_is_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("servefit")
    level, handlers = logger.level, [*logger.handlers]
    try:
        log_to_stderr("warning")
        logger.warning("%s", HOSTILE)
    finally:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    logged = capsys.readouterr().err
    assert logged.count("\n") == 1
    assert_harmless(logged)
    assert_harmless(fitted(HOSTILE, 200))


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=cmd", "'=cmd"), ("+1 worker", "'+1 worker"), ("-x", "'-x"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=cmd", "'=cmd"),
        ("\r\n=cmd", "'=cmd"), ("\uff1dcmd", "'\uff1dcmd"), ("a=b", "a=b"), ("-1.5", "-1.5"), (-1.5, "-1.5"), (7, "7"),
        (None, '""'), ('=a"b', '"\'=a""b"'),
    ],
)  # fmt: skip
def test_a_cell_of_csv_is_no_formula_and_numbers_stay_numbers(cell: object, written: str) -> None:
    text = io.StringIO()
    write_csv(Table(columns=("column",), rows=[(cell,)]), text)
    assert text.getvalue() == f"column\n{written}\n"
