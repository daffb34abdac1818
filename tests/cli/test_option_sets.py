"""Options are declared once: by themselves, or as fields of sets that commands take, and sets may hold others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from servefit.cli.job_options import of_job
from servefit.cli.numbers import with_parsed_numbers
from servefit.cli.signatures import option, with_option_sets
from servefit.option_panels import SEARCH, TRAFFIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    no_wait: Annotated[bool, option("Do not wait.", TRAFFIC)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    users: Annotated[int | None, option("Users.", TRAFFIC, "N", least=1)] = None
    waiting: Waiting
    batch_delay: Annotated[str, option("A delay.", TRAFFIC, "1ms", "--delay", "-d")] = "0"


SEEN: list[dict[str, Any]] = []


def send(
    url: Annotated[str, typer.Argument()],
    sending: Sending,
    target: Annotated[str, option("A processor.", SEARCH, "cpu|cuda")] = "cpu",
    seed: Annotated[int, of_job("seed")] = 0,
) -> None:
    """Send."""
    SEEN.append(locals())


@pytest.fixture
def app() -> typer.Typer:
    SEEN.clear()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(with_parsed_numbers(with_option_sets(send)))
    return app


def test_a_command_is_given_its_sets_as_they_were_typed(app: typer.Typer) -> None:
    ended = CliRunner().invoke(app, ["http://x", "--users", "3", "--no-wait", "-d", "2ms", "--target", "cuda"])
    assert ended.exit_code == 0, ended.output
    sending = Sending(users=3, waiting=Waiting(no_wait=True), batch_delay="2ms")
    assert [{"url": "http://x", "sending": sending, "target": "cuda", "seed": 0}] == SEEN


def test_what_is_not_typed_has_the_default_of_its_field(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["http://x"]).exit_code == 0
    assert SEEN[0]["sending"] == Sending(waiting=Waiting())


def test_options_stand_in_the_order_of_their_fields_under_their_own_names(app: typer.Typer) -> None:
    parameters = [parameter for parameter in typer.main.get_command(app).params if parameter.name != "help"]
    assert [parameter.opts for parameter in parameters] == [
        ["url"], ["--users"], ["--no-wait"], ["--delay", "-d"], ["--target"], ["--seed"]
    ]  # fmt: skip
    assert not any(parameter.secondary_opts for parameter in parameters), "no switch has another to switch it off"


def test_an_option_of_a_job_says_the_same_in_other_commands(app: typer.Typer) -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Seed of everything random: traffic, synthetic rows, search." in shown
    assert of_job("rate", "Arrivals at this rate.").help == "Arrivals at this rate."
    assert of_job("backend").help.endswith("Repeatable.")
    assert of_job("backend").rich_help_panel == SEARCH


@pytest.mark.parametrize(("form", "completed"), [("cpu|cuda", ["cpu", "cuda"]), ("NAME|zeros", None), (None, None)])
def test_words_that_a_value_may_be_are_completed(form: str | None, completed: list[str] | None) -> None:
    complete = option("A value.", SEARCH, form).autocompletion
    assert (complete and complete("")) == completed
