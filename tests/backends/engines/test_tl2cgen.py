"""The C compiler of the tl2cgen backend is found, is missing, fails, or hangs."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from servefit.backends.compilation import compile_model
from servefit.backends.engines.tl2cgen import compiler
from servefit.backends.finding.capabilities import backend
from servefit.errors import BackendUnavailable, CompileFailed

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.model import Model

pytestmark = pytest.mark.usefixtures("own_home")


def command(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.integration
def test_without_a_compiler_the_backend_is_unavailable_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Model
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = backend("tl2cgen").probe()
    assert (found.available, found.reason) == (False, "there is no C compiler")
    with pytest.raises(BackendUnavailable, match="apt install gcc"):
        compile_model(model, "tl2cgen")


def test_a_compiler_that_cannot_be_found_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O9")
    assert backend("tl2cgen").probe().reason == "$CC names 'no-such-compiler -O9', which cannot be found"


def test_the_compiler_in_the_environment_is_used_with_its_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = command(tmp_path, "mycc", "exit 0")
    monkeypatch.setenv("CC", f"{path} -m64")
    assert compiler() == (str(path), "-m64")


@pytest.mark.integration
def test_a_compiler_that_fails_is_reported_with_its_command_and_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Model
) -> None:
    path = command(tmp_path, "failing", "echo 'first line' >&2; echo 'internal compiler error: Killed' >&2; exit 4")
    monkeypatch.setenv("CC", str(path))
    with pytest.raises(CompileFailed, match="status 4: internal compiler error: Killed") as raised:
        compile_model(model, "tl2cgen")
    assert raised.value.command.startswith(f"{path} -O1")
    assert raised.value.stderr == "first line\ninternal compiler error: Killed"


@pytest.mark.integration
def test_a_compiler_that_hangs_is_stopped_in_time_and_leaves_nothing_running(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Model
) -> None:
    path = command(tmp_path, "hanging", "sleep 60")
    monkeypatch.setenv("CC", str(path))
    with pytest.raises(CompileFailed, match=r"did not finish within [0-9.]+ s"):
        compile_model(model, "tl2cgen", timeout_s=2)
    killed = [process for process in psutil.process_iter(["cmdline"]) if str(path) in (process.info["cmdline"] or [])]
    # On a busy machine it takes a moment until the last one is gone; it would sleep for a minute.
    assert psutil.wait_procs(killed, timeout=10)[1] == []


COMPILES = """
import pickle, sys
from servefit.backends.compilation import compile_model
compile_model(pickle.loads(sys.stdin.buffer.read()), "tl2cgen")
"""


@pytest.mark.thorough
@pytest.mark.integration
def test_a_command_that_is_killed_takes_the_compiler_along_and_the_next_removes_what_was_half_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Model, own_home: Path
) -> None:
    started = tmp_path / "started"
    path = command(tmp_path, "hanging", f"echo $$ > {started}; sleep 60 & wait")
    monkeypatch.setenv("CC", str(path))
    with subprocess.Popen([sys.executable, "-c", COMPILES], stdin=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        parent.stdin.write(pickle.dumps(model))
        parent.stdin.close()
        deadline = time.monotonic() + 60
        while not (started.exists() and started.read_text().endswith("\n")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        compilers = [
            process for process in psutil.process_iter(["cmdline"]) if str(path) in (process.info["cmdline"] or [])
        ]
        running = [child for process in compilers for child in (process, *process.children())]
        assert len(running) >= 2
        parent.kill()
    for process in running:
        process.wait(10)
    assert [folder.name[0] for folder in (own_home / "artifacts").iterdir()] == ["."]
    monkeypatch.delenv("CC")
    compiled = compile_model(model, "tl2cgen").artifact.folder
    assert list((own_home / "artifacts").iterdir()) == [compiled]


@pytest.mark.thorough
@pytest.mark.integration
def test_what_was_compiled_is_one_shared_library(model: Model) -> None:
    folder = compile_model(model, "tl2cgen").artifact.folder
    assert sorted(path.name for path in folder.iterdir()) == ["artifact.json", "model.so"]
    symbols = subprocess.run(["nm", "-D", folder / "model.so"], capture_output=True, text=True, check=True).stdout
    assert " T servefit_predict" in symbols
