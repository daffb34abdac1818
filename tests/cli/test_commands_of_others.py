"""Subcommands that other packages add."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.installed_packages import write_package
from typer.testing import CliRunner

from servefit.cli.commands import GROUP, app

GREET = """
from typing import Annotated
import typer
from servefit.errors import SpecError

def command(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    times: Annotated[int, typer.Option(metavar="N", help="How often.", rich_help_panel="Output")] = 1,
) -> None:
    '''Greet NAME.'''
    if name == "nobody":
        raise SpecError("name", name, "is not there", remedy="wait")
    print(f"hello {name}\\n" * times, end="")
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes an installed package that offers a subcommand called ``name``."""

    def install(package: str, name: str, source: str = GREET) -> None:
        folder = tmp_path / package
        write_package(folder, package, group=GROUP, name=name, target=f"{package}_commands:command", source=source)
        monkeypatch.syspath_prepend(str(folder))

    return install


def said(*arguments: str) -> tuple[int, str]:
    """The exit status, and what stdout and stderr say together."""
    ended = CliRunner().invoke(app, arguments, prog_name="servefit")
    return ended.exit_code, ended.output


def test_a_command_is_listed_with_its_package_which_the_list_does_not_import(install: Install) -> None:
    install("listed", "greet")
    _, help_text = said("--help")
    assert help_text.endswith("Commands of other packages:\n  greet  From listed 1.0.\n")
    assert "listed_commands" not in sys.modules


def test_a_command_runs_and_is_described_like_those_of_servefit(install: Install) -> None:
    install("polite", "greet")
    assert said("greet", "Ada", "--times", "2") == (0, "hello Ada\nhello Ada\n")
    assert said("greet", "Ada", "--times", "two") == (2, "servefit: times: 'two' is not a whole number\n")
    assert said("greet", "nobody") == (2, "servefit: name: 'nobody' is not there; wait\n")
    _, help_text = said("greet", "--help")
    assert "Greet NAME." in help_text
    assert "\nOutput:\n  --times N" in help_text
    assert "--log-level" in help_text


def test_a_name_that_two_packages_offer_is_refused_with_both(install: Install) -> None:
    install("left", "greet")
    install("right", "greet")
    assert "greet  It is offered by left 1.0 and right 1.0." in said("--help")[1]
    status, text = said("greet", "Ada")
    assert (status, text.split("; ")[1]) == (2, "uninstall all but one of them\n")


@pytest.mark.parametrize(
    ("package", "source", "problem"),
    [
        ("raising", "1 / 0", "cannot be imported from raising 1.0: ZeroDivisionError"),
        ("constant", "command = 5", "of constant 1.0 raised TypeError"),
        ("untyped", "def command(what: 'Gone'): pass", "of untyped 1.0 raised NameError"),
    ],
)
def test_a_package_that_offers_no_command_is_named_and_others_do_not_notice_it(
    install: Install, package: str, source: str, problem: str
) -> None:
    install(package, "greet", source)
    status, text = said("greet")
    assert status == 2
    assert f"command: 'greet' {problem}" in " ".join(text.split())
    assert said("schema")[0] == 0


def test_another_package_cannot_take_over_a_command(install: Install) -> None:
    install("taking", "schema", "def command(): print('taken')")
    assert said("schema")[1].startswith("{")
    assert "other packages" not in said("--help")[1]


def test_a_name_that_nobody_offers_is_no_command(install: Install) -> None:
    install("unused", "greet")
    status, text = said("gret")
    assert (status, "No such command 'gret'." in text) == (2, True)


@pytest.mark.integration
def test_the_list_does_not_import_what_reads_the_metadata_of_packages() -> None:
    program = (
        "import sys; from servefit.cli.commands import app; app(['--help'], standalone_mode=False)\n"
        "print('importlib.metadata' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-Ic", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "False"
