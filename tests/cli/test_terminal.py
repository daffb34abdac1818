"""What commands print in terminals of 40, 80 and 120 columns, in poor ones, and in none."""

from __future__ import annotations

import io
import os
import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from tests.cli.conftest import Finished, forked
from tests.cli.terminals import in_terminal, in_terminal_of_its_own, plain, too_long, words
from tests.golden.kept import NEWEST, SETS, copied, replace_in_jobs

from servefit.cli.tables import column_widths, print_table
from servefit.cli.terminal import columns_of, wrapped
from servefit.report.table import Table, readable

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Finished]

WIDTHS = (40, 80, 120)
SIX_COLUMNS = ("profile", "backend and shape", "cost an hour", "max rate", "p95", "SLA")
HEADS_OF_LISTS = {"property", "value", "reason"}
"""Words that a list of figures does without."""

UNITS = r"us|ms|s|%|M/s|cents|requests/s|vCPU-s|vCPUs?"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the jobs that were kept last."""
    return copied(NEWEST, tmp_path_factory.mktemp("golden")) / "home"


@pytest.fixture(scope="module")
def run(home: Path, forks: Path) -> Run:
    """Carries a command out on the kept jobs, in a terminal of so many columns, or with None in none."""

    def run(columns: int | None, *arguments: str, **variables: str) -> Finished:
        environment = {"SERVEFIT_HOME": str(home), **variables}
        if columns is None:
            return forked(forks, arguments, {**os.environ, **environment})
        return in_terminal(forks, columns, arguments, environment)

    return run


COMMANDS = (
    "show rounds --wide", "show sla-unmet", "jobs", "steps some-fail", "scale two-profiles --rate 1000/s", "figures",
    "profiles", "host --facts", "steps rounds --status done",
)  # fmt: skip
FURTHER_COMMANDS = (
    "show two-profiles", "show phases", "show sine", "show some-fail", "show all-fail", "show disturbed", "show onnx",
    "show interrupted", "show killed", "jobs --wide", "steps rounds", "steps rounds --wide",
    "scale phases --rate 2000000/s --wide", "figures --wide", "profiles --all", "show nothing-like-it",
)  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize(
    "command", [*COMMANDS, *(pytest.param(command, marks=pytest.mark.thorough) for command in FURTHER_COMMANDS)]
)
def test_whatever_is_printed_fits_the_terminal_and_breaks_no_word(run: Run, command: str) -> None:
    unbroken = run(None, *command.split())
    for columns in WIDTHS:
        shown = run(columns, *command.split())
        assert shown.status == unbroken.status
        for fitted, whole in ((shown.stdout, unbroken.stdout), (shown.stderr, unbroken.stderr)):
            assert too_long(fitted, columns) == []
            assert words(fitted) - words(whole) == set()
            assert words(whole) - words(fitted) <= HEADS_OF_LISTS


@pytest.mark.integration
@pytest.mark.parametrize("columns", [40, *(pytest.param(columns, marks=pytest.mark.thorough) for columns in (80, 120))])
def test_no_number_is_parted_from_its_unit(run: Run, columns: int) -> None:
    for command in ("show two-profiles", "show sla-unmet", "scale two-profiles --rate 1000/s"):
        shown = run(columns, *command.split())
        lines = plain(shown.stdout + shown.stderr)
        assert re.findall(rf"\d\n *(?:{UNITS})(?!\w)", lines) == []


@pytest.mark.integration
@pytest.mark.parametrize("columns", [80, 120])
def test_recommendations_have_six_columns(run: Run, columns: int) -> None:
    lines = plain(run(columns, "show", "two-profiles").stdout).splitlines()
    head = next(line for line in lines if line.startswith("profile"))
    assert re.split(r"  +", head.strip()) == list(SIX_COLUMNS)
    row = next(line for line in lines if line.startswith("rack-1"))
    number = r"[\d.,]+"
    assert re.fullmatch(
        rf"rack-1  +onnxruntime 1 x 1, batch 8  +5 cents  +{number} M/s  +{number} ms  PASS", row.strip()
    )


@pytest.mark.integration
def test_a_narrow_terminal_is_shown_the_same_six_figures_below_each_other(run: Run) -> None:
    shown = plain(run(40, "show", "two-profiles").stdout)
    lists = shown.partition("best first\n\n")[2].partition("\n\nOver HTTP")[0].split("\n\n")
    figures = [re.findall(r"^(\S.*?)  +(\S.*)$", each, re.M) for each in lists]
    assert [tuple(name for name, _ in each) for each in figures] == [SIX_COLUMNS, SIX_COLUMNS]
    assert [each[0] for each in figures] == [("profile", "rack-1"), ("profile", "rack-2")]
    assert all(each[-1] == ("SLA", "PASS") for each in figures)


@pytest.mark.integration
def test_profiles_that_share_a_measurement_are_one_row_and_named_below(
    forks: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = copied(SETS[0], tmp_path_factory.mktemp("older")) / "home"
    shown = plain(in_terminal(forks, 80, ["show", "default"], {"SERVEFIT_HOME": str(home)}).stdout)
    assert "cost a million" in shown
    assert re.search(r"^rack-2 .* [\d.]+ cents ", shown, re.M)
    assert not re.search(r"^(ml\.m5\.large|local-2c) ", shown, re.M)
    assert "The same shape: rack-2, ml.m5.large, local-2c, " in shown
    wide = plain(in_terminal(forks, 220, ["show", "default", "--wide"], {"SERVEFIT_HOME": str(home)}).stdout)
    assert "The same shape" not in wide
    assert re.search(r" ml\.m5\.large .* 0\.115 ", wide)


@pytest.mark.integration
def test_wide_tables_have_all_columns_where_there_is_room_and_lists_where_there_is_none(run: Run) -> None:
    columns = ("id", "$/million", "max a minute", "p50 ms", "memory %", "step")
    head = next(line for line in plain(run(220, "show", "two-profiles", "--wide").stdout).splitlines() if "id" in line)
    assert all(column in head for column in columns)
    listed = plain(run(80, "show", "two-profiles", "--wide").stdout)
    assert all(len(re.findall(rf"^{re.escape(column)} ", listed, re.M)) == 2 for column in columns)


@pytest.mark.integration
def test_text_in_a_pipe_is_not_wrapped(run: Run) -> None:
    shown = run(None, "show", "two-profiles", COLUMNS="40")
    sentences = [line for line in shown.stdout.splitlines() if line.startswith(("P95", "Measured", "Over HTTP"))]
    assert len(sentences) == 3
    assert all(line.endswith((".", "call.")) and len(line) > 80 for line in sentences)
    assert all(line.startswith("warning: ") for line in shown.stderr.splitlines())
    assert run(None, "steps", "rounds", "--wide").stdout.count("\n") < 25


@pytest.mark.integration
def test_the_variable_columns_overrides_the_width_of_the_terminal(run: Run) -> None:
    assert too_long(run(200, "show", "two-profiles", COLUMNS="60").stdout, 60) == []
    assert too_long(run(0, "show", "two-profiles").stdout, 80) == []
    assert too_long(run(100, "show", "two-profiles", COLUMNS="wide").stdout, 100) == []


@pytest.mark.integration
def test_the_further_lines_of_a_warning_are_indented(run: Run) -> None:
    lines = run(60, "show", "two-profiles").stderr.splitlines()
    assert len(lines) > len([line for line in lines if line.startswith("warning: ")]) > 2
    assert all(line.startswith(("warning: ", "  ")) for line in lines)


@pytest.mark.integration
@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_a_dumb_terminal_gets_no_escapes_and_no_colour_means_none(run: Run, term: str) -> None:
    shown = run(80, "show", "two-profiles", TERM=term, NO_COLOR="1")
    written = shown.stdout + shown.stderr
    assert "profile" in written
    if term == "dumb":
        assert "\x1b" not in written
    assert re.findall(r"\x1b\[(?:\d+;)*(?:3|4|9|10)[0-8](?:;\d+)*m", written) == []
    assert too_long(written, 80) == []


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose jobs are on a model with a name beyond ASCII."""
    copy = copied(NEWEST, tmp_path_factory.mktemp("foreign"))
    replace_in_jobs(copy, "model.ubj", "modèle-模型.ubj")
    return copy / "home"


POOR: tuple[dict[str, str], ...] = (
    {"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii", "TERM": "dumb"},
    {"LC_ALL": "", "LANG": "C"},
    {"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"},
)
DAILY_IN_POOR_TERMINALS = (("show two-profiles", POOR[0]), ("jobs", POOR[1]))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "variables"),
    [
        pytest.param(
            command,
            variables,
            marks=() if (command, variables) in DAILY_IN_POOR_TERMINALS else pytest.mark.thorough,
        )
        for command in ("show two-profiles", "jobs", "jobs --wide", "jobs --format csv")
        for variables in POOR
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value.values()),
)
def test_a_terminal_without_unicode_is_written_nothing_that_it_cannot_take(
    foreign: Path, command: str, variables: dict[str, str]
) -> None:
    ended = in_terminal_of_its_own(80, command.split(), {**variables, "SERVEFIT_HOME": str(foreign)})
    assert ended.status == 0, ended.stderr
    written = ended.stdout + ended.stderr
    assert written.isascii()
    assert "Traceback" not in written
    if command.startswith("jobs"):
        assert "mod\\xe8le-\\u6a21\\u578b.ubj" in written
    else:
        assert "-----" in written
    if "csv" not in command:
        assert too_long(written, 80) == []


@pytest.mark.integration
def test_wide_characters_take_two_columns(foreign: Path, forks: Path) -> None:
    listed = in_terminal(forks, 80, ["jobs"], {"SERVEFIT_HOME": str(foreign)})
    assert "modèle-模型.ubj" in listed.stdout
    lines = [line for line in plain(listed.stdout).splitlines() if "模型" in line]
    begins = {cell_len(line[: re.search(r"2026-", line).start()]) for line in lines}  # type: ignore[union-attr]
    assert len(lines) > 5
    assert len(begins) == 1


# Tables of any texts

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 10**9),
    st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=60),
    st.sampled_from(
        ["no: it needs 96 vCPUs, this host has 2; another machine", "模型" * 9, "/srv/models/of/all/model.ubj"]
    ),
)


class Screen(io.StringIO):
    """A terminal in memory."""

    def isatty(self) -> bool:
        return True


@given(
    st.integers(1, 9).flatmap(lambda columns: st.lists(st.tuples(*[CELLS] * columns), max_size=4)),
    st.integers(20, 130),
    st.one_of(st.none(), st.just("Recommendations of all that was measured, best first")),
)
def test_any_table_fits_and_loses_nothing(rows: list[tuple[Any, ...]], width: int, title: str | None) -> None:
    heads = ("name", "max rate", "p95 ms", "a head of several words", "SLA", "reason", "p50 ms", "count", "note")
    columns = heads[: len(rows[0]) if rows else len(heads)]
    table = Table(columns=columns, rows=rows, title=title)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("COLUMNS", str(width))
        patched.setattr(sys, "stdout", screen := Screen())
        print_table(table)
    written = plain(screen.getvalue())
    assert too_long(written, width) == []
    letters = Counter("".join(written.replace("─", " ").split()))
    for row in readable(table).rows:
        letters.subtract(Counter("".join("".join(row).split())))
    assert min(letters.values(), default=0) >= 0


# Wrapping

TEXTS = st.lists(
    st.one_of(
        st.sampled_from(["59 us", "2 x 1,", "<= 100 ms", "batch 64", "7.5 %", "p95 4 ms", "0.7 M/s", "500 requests/s"]),
        st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z", "M")), min_size=1, max_size=12),
    ),
    max_size=30,
)


@given(TEXTS, st.integers(20, 90), st.sampled_from(["", "  "]))
def test_text_is_wrapped_at_words_and_nothing_is_lost(parts: list[str], width: int, indent: str) -> None:
    text = " ".join(parts)
    lines = list(wrapped(text, width, indent=indent))
    assert [line for line in lines if columns_of(line) > width and len(line.split()) > 1] == []
    assert "".join(text.split()) == "".join("".join(lines).split())
    assert all(line.startswith(indent) for line in lines[1:])
    for line, following in pairwise(lines):
        assert not re.search(r"\d$", line) or not re.match(rf"(?:{UNITS})( |$)", following.strip())


def test_a_word_longer_than_a_line_stays_whole() -> None:
    path = "/srv/models/of/the/department/model.ubj"
    assert list(wrapped(f"the model {path} is gone", 24)) == ["the model", path, "is gone"]


def test_text_in_wide_characters_is_broken_anywhere() -> None:
    lines = list(wrapped("模型" * 12, 20))
    assert [cell_len(line) for line in lines] == [20, 20, 8]


def test_a_table_gives_its_columns_room_or_is_none() -> None:
    heads, rows = ("name", "max rate", "reason"), [("forest", "0.7 M/s", "it is slower than the others of its kind")]
    right = [False, True, False]
    assert column_widths(heads, rows, right, None) == [6, 8, 40]
    assert column_widths(heads, rows, right, 40) == [6, 8, 22]
    assert column_widths(heads, rows, right, 33) == [6, 7, 16]
    assert column_widths(heads, rows, right, 32) is None
