"""The help of every command: metavars in the field's words, options in panels, and lines that fit the terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import pytest

from servefit.cli.commands import COMMANDS, GROUPS, SUBCOMMANDS

if TYPE_CHECKING:
    from tests.cli.conftest import Servefit

pytestmark = pytest.mark.integration

HelpOf = Callable[..., str]

COLUMNS = 80
LEAVES = [
    *((name,) for name in COMMANDS if name not in GROUPS),
    *((group, name) for group, table in (GROUPS | SUBCOMMANDS).items() for name in table),
]
"""The words of every command that is none but a group of others."""
PANELS = ("Arguments", "Traffic", "Search", "Machine", "Output", "Options", "Commands")
WITHOUT_PANEL = {"--config", "--trust-code", "--trust-pickle", "-h, --help"}
"""Options of no subject, which stand under "Options"."""


@pytest.fixture(scope="module")
def help_of(servefit: Servefit) -> Iterator[HelpOf]:
    """Gives the help of a command in a terminal of COLUMNS; it is printed once."""

    @cache
    def printed(*command: str) -> str:
        ended = servefit(*command, "--help")
        assert ended.status == 0, ended.stderr
        return ended.stdout

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(COLUMNS))
        yield printed


@pytest.mark.parametrize("command", LEAVES, ids=" ".join)
def test_angle_brackets_list_choices_and_are_never_the_name_of_a_type(
    help_of: HelpOf, command: tuple[str, ...]
) -> None:
    shown = re.findall(r"<[^<>]*>", help_of(*command))
    assert [brackets for brackets in shown if "|" not in brackets] == []


@pytest.mark.parametrize("command", [*LEAVES, *((group,) for group in GROUPS), ()], ids=" ".join)
def test_no_line_is_longer_than_the_terminal(help_of: HelpOf, command: tuple[str, ...]) -> None:
    assert [line for line in help_of(*command).splitlines() if len(line) > COLUMNS] == []


@pytest.mark.parametrize("command", LEAVES, ids=" ".join)
def test_options_are_in_the_panel_of_their_subject(help_of: HelpOf, command: tuple[str, ...]) -> None:
    panels = dict(re.findall(r"^([A-Z][a-z]+):\n((?:(?:  .*)?\n)+)", help_of(*command) + "\n", re.M))
    assert set(panels) <= set(PANELS)
    names = re.findall(r"^  ((?:-[a-z], )?--[a-z-]+)", panels["Options"], re.M)
    assert set(names) <= WITHOUT_PANEL


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_lists_its_commands_each_of_which_has_an_example(
    servefit: Servefit, help_of: HelpOf, group: str
) -> None:
    listed = help_of(group)
    for command, (_, does) in GROUPS[group].items():
        assert f"{command} " in listed
        assert does in listed
        assert f"Example: servefit {group} {command}" in help_of(group, command)
    assert servefit(group).status == 2


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_a_command_that_has_others_lists_them_below_its_options(help_of: HelpOf, command: str) -> None:
    shown = help_of(command)
    below = shown.partition("\nCommands:\n")[2]
    for name, (_, does) in SUBCOMMANDS[command].items():
        assert re.search(rf"^  {name} +{re.escape(does)}$", below, re.M)
        assert f"Example: servefit {command} {name}" in help_of(command, name)
