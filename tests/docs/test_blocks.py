"""The fenced blocks of the documentation: each names its language, and each is run or read by a test."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING

import pytest
import typer
import yaml
from tests.docs.pages import ROOT, Block, blocks, commands, pages, unfenced
from typer.core import TyperGroup
from typer.main import get_command

from servefit.cli.commands import app
from servefit.search.request.config_file import parse_config

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks(page)]

READ: dict[str, Callable[[str], object] | None] = {
    "bash": None,
    "json": json.loads,
    "mermaid": None,
    "python": None,
    "sh": None,
    "text": None,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
}
"""What a block may hold, and what reads it."""

NOT_RUN = {
    r"(python -m )?pip (install|uninstall) .+": "asks a package index",
    r"source \S+/bin/activate": "belongs to an environment that pip makes",
    r"(sudo )?apt(-get)? install .+": "changes the machine",
    r"sudo cpupower .+": "changes the machine",
    r"echo .+ \| sudo tee /(etc|sys)/.+": "changes the machine",
    r"sudo (mkdir|tee|loginctl) .+": "changes the machine",
    r"(sudo )?systemctl .+": "changes the machine",
    r"(sudo )?docker .+": "takes Docker",
    r"kubectl .+": "takes a cluster",
    r"(ssh|scp|rsync) .+": "takes another machine",
    r"git (clone|add|commit|push) .+": "takes a repository of the reader's",
    r"servefit (stop|resume) \S+": "takes a job that is not over: tests/cli/test_jobs.py has one",
    r"nvidia-smi( .+)?": "takes a GPU",
    r"servefit \S+ .*--target cuda.*": "takes a GPU",
    r"servefit \S+ .*--storage postgresql://.*": "takes a database server",
    r"servefit \S+ .*--allow-remote.*": "takes another machine",
    r"servefit \S+ .*(encoder|vad|speech)\.onnx.*": "takes a network: tests/cli/test_inputs.py has some",
    r"servefit \S+ pipeline\.pkl .*": "takes a pipeline of the reader's: tests/cli/test_pipelines.py has one",
    r"servefit \S+ model\.tar\.gz .+": "takes a script of the reader's: tests/cli/test_scripts.py has some",
    r"servefit \S+ (model\.(pt2|pth)|\./all-MiniLM-L6-v2) .+": "takes a module: tests/backends/engines/torch has some",
    r"optuna-dashboard .+": "is another package",
    r"scripts/(demo|docs|pictures)( serve)?": "makes an environment first",
    r"scripts/(test|check_kernel|mutate)( .+)?": "is what runs this, or takes long",
    r"\S+/run( .+)?": "installs packages from an index first; tests/cli/test_export.py does that",
}
"""What may be fenced as ``sh``, which is not run, and why not. Anything else belongs into ``bash``."""


def _is_job(block: Block) -> bool:
    """Whether a block shows a file for ``servefit recommend --config``, all of which name a model here."""
    return block.language == "yaml" and bool(re.search(r"^model: ", block.text, re.MULTILINE))


def test_the_documentation_has_blocks_to_run() -> None:
    assert "README.md" in PAGES
    assert sum(block.language == "bash" for block in BLOCKS) > 20
    assert any(map(_is_job, BLOCKS))


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_fenced_and_says_what_it_holds(page: str) -> None:
    assert [(block.line, block.language) for block in blocks(page) if block.language not in READ] == []
    assert unfenced(page) == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "sh"], ids=str)
def test_what_is_not_run_cannot_be_run_here(block: Block) -> None:
    found = commands(block)
    assert found
    assert [command for command in found if not any(re.fullmatch(pattern, command) for pattern in NOT_RUN)] == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if READ.get(block.language)], ids=str)
def test_what_is_shown_of_a_file_can_be_read(block: Block) -> None:
    read = READ[block.language]
    assert read is not None
    assert read(block.text)


@pytest.mark.parametrize("block", [block for block in BLOCKS if _is_job(block)], ids=str)
def test_jobs_that_are_shown_can_be_asked_for(block: Block) -> None:
    assert parse_config(block.text.encode(), str(block)).request("shown").name == "shown"


def _arguments_of_servefit(line: str) -> list[str] | None:
    """What a line of shell gives to ``servefit``, as far as the next word of the shell's own."""
    words = shlex.split(line)
    if "servefit" not in words or "--install-completion" in words:  # which would write into the reader's home
        return None
    after = words[words.index("servefit") + 1 :]
    return [word.rstrip(";") for word in takewhile(lambda word: word[0] not in "|&;<>" and word[:2] != "2>", after)]


def _parse(arguments: list[str]) -> None:
    """Have the command line read arguments, as far as its last subcommand, and run nothing."""
    command, name, context = get_command(app), "servefit", None
    while True:
        context = command.make_context(name, arguments, parent=context)
        if not isinstance(command, TyperGroup):
            return
        found, following, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        assert following is not None
        name, command = found, following


@pytest.mark.integration
@pytest.mark.parametrize("page", [page for page in PAGES if "servefit " in (ROOT / page).read_text(encoding="utf-8")])
def test_the_command_line_takes_every_command_of_a_page(page: str) -> None:
    """Also those of pages that only ``scripts/test --thorough`` runs, and those that no test runs."""
    for block in blocks(page):
        for line in commands(block) if block.language in ("bash", "sh") else ():
            arguments = _arguments_of_servefit(line)
            if arguments is not None:
                with suppress(SystemExit, typer.Exit):  # --help and --version end by themselves
                    _parse(arguments)
