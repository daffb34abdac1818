"""The completion script for zsh, and what it completes in a real zsh."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit

pytestmark = pytest.mark.integration

PROMPT = "ready> "

ZSHRC = f"""
PROMPT={PROMPT!r}
tell() {{ print -r -- "$BUFFER" >~/told.new && mv ~/told.new ~/told }}
zle -N tell
bindkey '^G' tell
"""
"""Ctrl-G writes down what is in the line."""

SCRIPT = """\
#compdef servefit

_servefit_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _SERVEFIT_COMPLETE=complete_zsh \
${~${(M)words[1]:#*/*}:-servefit})
}

if [ "$funcstack[1]" = "_servefit" ]; then
  _servefit_completion "$@"
else
  compdef _servefit_completion servefit
fi
"""


def test_the_script_completes_when_it_is_loaded_and_asks_the_servefit_that_is_typed(servefit: Servefit) -> None:
    # Otherwise the shell is the one that the tests were started from.
    shown = servefit("--show-completion", "zsh", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert shown.stdout == SCRIPT


WITHOUT_PLACE = """
import sys
import typer._completion_shared as shared
{change}
sys.argv = ["servefit", "--version"]
from servefit.cli.app import main
main()
"""


@pytest.mark.parametrize(
    "change",
    ["del shared._completion_scripts", "shared._completion_scripts.pop('zsh')", "sys.modules[shared.__name__] = None"],
)
def test_a_typer_that_keeps_its_script_elsewhere_is_left_alone(change: str) -> None:
    program = WITHOUT_PLACE.format(change=f"import typer.main; {change}")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def zsh() -> str:
    found = shutil.which("zsh")
    assert found is not None, "there is no zsh to type into; scripts/test installs it"
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of somebody who has zsh, a servefit, and has installed completion."""
    command = tmp_path / "bin" / "servefit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m servefit "$@"\n')
    command.chmod(0o755)
    (tmp_path / ".zshrc").write_text(ZSHRC)
    # With a command behind it zsh stays, and is found to be the shell.
    installing = [zsh(), "-f", "-c", "bin/servefit --install-completion; exit $?"]
    subprocess.run(installing, cwd=tmp_path, env=variables(tmp_path), check=True, capture_output=True)
    return tmp_path


def variables(home: Path, *folders: str) -> dict[str, str]:
    path = ":".join([*folders, os.defpath])
    return {"HOME": str(home), "SERVEFIT_HOME": str(home / "state"), "PATH": path, "TERM": "vt100", "LANG": "C.UTF-8"}


def typed(home: Path, keys: str, *folders: str) -> str:
    """What is in the first line of a new zsh after ``keys``."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [zsh(), "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=home,
        env=variables(home, *folders),
        start_new_session=True,
    )
    os.close(theirs)
    told, seen, deadline = home / "told", b"", time.monotonic() + 60
    try:
        while not told.exists():
            assert time.monotonic() < deadline, seen
            if select.select([ours], [], [], 0.1)[0]:
                ready = PROMPT.encode() in seen
                seen += os.read(ours, 65536)
                if not ready and PROMPT.encode() in seen:
                    os.write(ours, f"{keys}\a".encode())
        return told.read_text().removesuffix("\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_the_first_tab_of_a_shell_completes(home: Path) -> None:
    assert typed(home, "servefit reco\t", str(home / "bin")) == "servefit recommend "


@pytest.mark.thorough
def test_every_other_tab_completes(home: Path) -> None:
    assert typed(home, "servefit reco\t--conf\t", str(home / "bin")) == "servefit recommend --config "


@pytest.mark.thorough
def test_a_servefit_that_is_called_by_its_path_need_not_be_on_the_path(home: Path) -> None:
    assert typed(home, "~/bin/servefit reco\t") == "~/bin/servefit recommend "


@pytest.mark.thorough
def test_an_alias_that_is_not_expanded_completes(home: Path) -> None:
    with (home / ".zshrc").open("a") as zshrc:
        zshrc.write("alias sf=servefit\nsetopt complete_aliases\ncompdef sf=servefit\n")
    assert typed(home, "sf reco\t", str(home / "bin")) == "sf recommend "
