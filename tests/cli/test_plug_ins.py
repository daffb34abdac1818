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

from servefit.backends.finding.registry import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Sources

pytestmark = pytest.mark.integration

IMPORTS = {
    "raises": ("raise ZeroDivisionError", "ZeroDivisionError"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "ends": ("import os; os._exit(0)", "ended with status 0"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "prints": ("print('{', flush=True)", "has no attribute 'cache_key'"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
}
"""What packages do when they are imported, and what is said of it. What is left of a backend then has no methods."""
HANGING = {
    "hangs": ("import time; time.sleep(3600)", "within 10 s"),
    "hangs-too": ("while True: pass", "within 10 s"),
}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def imports() -> dict[str, tuple[str, str]]:
    """The packages that are installed."""
    return IMPORTS


@pytest.fixture
def run(tmp_path: Path, imports: dict[str, tuple[str, str]]) -> Run:
    """Runs servefit with these packages installed."""
    for name, (content, _) in imports.items():
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


@pytest.mark.parametrize(
    "imports",
    [
        pytest.param(IMPORTS, id="broken"),
        # Each has the time that a backend may take.
        pytest.param(HANGING, id="hanging", marks=pytest.mark.thorough),
    ],
)
def test_every_broken_backend_is_a_line_that_says_what_is_wrong_and_whose_it_is(
    run: Run, imports: dict[str, tuple[str, str]]
) -> None:
    ended = run("backends", "--format", "json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    listed = {backend["name"]: backend["targets"]["cpu"] for backend in json.loads(ended.stdout)["backends"]}
    assert listed.keys() == {*BUILT_IN, *imports}
    assert listed["xgboost"]["available"]
    for name, (_, said) in imports.items():
        assert not listed[name]["available"]
        assert f"package servefit-{name} 1.0" in listed[name]["reason"]
        assert listed[name]["remedy"] == f"update or uninstall servefit-{name}"
        assert said in listed[name]["reason"]


@pytest.mark.thorough
def test_other_commands_do_not_notice_them(run: Run, sources: Sources) -> None:
    assert run("--help").returncode == 0
    model, payload = sources.xgboost, sources.payload
    quick = ("--duration", "0.2s", "--allow-noise", "--quiet", "--format", "json")
    ended = run("profile", model, "--payload", payload, "-b", "xgboost", *quick)
    assert ended.returncode == 0, ended.stderr
    document: Any = json.loads(ended.stdout)
    assert document["configuration"]["backend"] == "xgboost"
