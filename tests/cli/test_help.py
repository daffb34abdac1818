"""The help of every command: metavars in the field's words, options in panels, and lines that fit the terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from servefit.cli.commands import COMMANDS

if TYPE_CHECKING:
    from tests.cli.conftest import Servefit

COLUMNS = 80
PANELS = ("Arguments", "Traffic", "Search", "Machine", "Output", "Options")
WITHOUT_PANEL = {"--config", "--trust-pickle", "-h, --help"}
"""Options of no subject, which stand under "Options"."""


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))


@pytest.mark.parametrize("command", COMMANDS)
def test_angle_brackets_list_choices_and_are_never_the_name_of_a_type(servefit: Servefit, command: str) -> None:
    shown = re.findall(r"<[^<>]*>", servefit(command, "--help").stdout)
    assert [brackets for brackets in shown if "|" not in brackets] == []


@pytest.mark.parametrize("command", [*COMMANDS, None])
def test_no_line_is_longer_than_the_terminal(servefit: Servefit, command: str | None) -> None:
    ended = servefit(*([command] if command else []), "--help")
    assert ended.status == 0
    assert [line for line in ended.stdout.splitlines() if len(line) > COLUMNS] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_in_the_panel_of_their_subject(servefit: Servefit, command: str) -> None:
    panels = dict(re.findall(r"^([A-Z][a-z]+):\n((?:(?:  .*)?\n)+)", servefit(command, "--help").stdout + "\n", re.M))
    assert set(panels) <= set(PANELS)
    names = re.findall(r"^  ((?:-[a-z], )?--[a-z-]+)", panels["Options"], re.M)
    assert set(names) <= WITHOUT_PANEL
