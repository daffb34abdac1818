"""Commands with broken backends of other packages installed: each is reported in a line, and the rest works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.installed_packages import write_package

from servefit.backends.registry import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Sources

pytestmark = pytest.mark.integration

IMPORTS = {
    "raises": "raise ZeroDivisionError",
    "exits": "import sys; sys.exit(3)",
    "ends": "import os; os._exit(0)",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "hangs": "import time; time.sleep(3600)",
    "hangs-too": "while True: pass",
    "prints": "print('{', flush=True)",
    "interrupts": "raise KeyboardInterrupt",
}
"""What packages do when they are imported. What is left of a backend then has no methods."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs servefit with all of these packages installed."""
    for name, content in IMPORTS.items():
        write_package(
            tmp_path / "plugins",
            f"servefit-{name}",
            group="servefit.backends",
            name=name,
            target=f"servefit_{name.replace('-', '_')}:Backend",
            source=f"{content}\nclass Backend: name = {name!r}\n",
        )

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "servefit", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "SERVEFIT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path / "plugins")},
        )

    return run


def test_every_broken_backend_is_a_line_that_says_what_is_wrong_and_whose_it_is(run: Run) -> None:
    ended = run("backends", "--format", "json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    listed = {backend["name"]: backend["targets"]["cpu"] for backend in json.loads(ended.stdout)["backends"]}
    assert listed.keys() == {*BUILT_IN, *IMPORTS}
    assert listed["xgboost"]["available"]
    for name in IMPORTS:
        assert not listed[name]["available"]
        assert f"package servefit-{name} 1.0" in listed[name]["reason"]
        assert listed[name]["remedy"] == f"update or uninstall servefit-{name}"
    said = {name: found["reason"] for name, found in listed.items()}
    assert "ZeroDivisionError" in said["raises"]
    assert "SystemExit: 3" in said["exits"]
    assert "ended with status 0" in said["ends"]
    assert "SIGSEGV" in said["crashes"]
    assert "within 10 s" in said["hangs"]
    assert "within 10 s" in said["hangs-too"]
    assert "has no attribute 'cache_key'" in said["prints"]
    assert "KeyboardInterrupt" in said["interrupts"]


def test_other_commands_do_not_notice_them(run: Run, sources: Sources) -> None:
    assert run("--help").returncode == 0
    model, payload = sources.xgboost, sources.payload
    quick = ("--duration", "0.2s", "--allow-noise", "--quiet", "--format", "json")
    ended = run("profile", model, "--payload", payload, "-b", "xgboost", *quick)
    assert ended.returncode == 0, ended.stderr
    document: Any = json.loads(ended.stdout)
    assert document["configuration"]["backend"] == "xgboost"
