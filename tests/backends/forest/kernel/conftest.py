"""The kernel without Python, compiled with sanitizers, and artifacts for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from servefit.backends import forest

KERNEL = Path(forest.__file__).parent / "kernel"
HERE = Path(__file__).parent

Build = Callable[..., Path]
"""Gives the program made of a C file of this folder and the kernel, by options of the compiler."""


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder, made = tmp_path_factory.mktemp("programs"), dict[tuple[str, ...], list[Path]]()

    def compiled(source: Path, name: str, *options: str) -> Path:
        target = folder / f"{name}-{source.stem}.o"
        command = ["gcc", "-std=c11", "-g", "-O0", *options, f"-I{KERNEL}", "-c", str(source), "-o", str(target)]
        subprocess.run([*command, "-Werror=implicit-function-declaration"], check=True, capture_output=True)
        return target

    def program(source: str, *options: str) -> Path:
        sources = [path for path in sorted(KERNEL.glob("*.c")) if path.name != "module.c"]
        if options not in made:
            made[options] = [compiled(path, str(len(made)), *options) for path in sources]
        objects = [compiled(HERE / source, "main", *options, "-DINPUTS_FROM_FILES"), *made[options]]
        target = folder / f"{Path(source).stem}-{len(made)}"
        subprocess.run(["gcc", *options, *objects, "-lm", "-lpthread", "-o", target], check=True, capture_output=True)
        return target

    return program


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory, session_home: Path) -> Callable[[str], dict[str, Path]]:
    """The artifacts of ``models`` or ``seeds`` by name; the rows for each lie beside it."""
    written = dict[str, dict[str, Path]]()

    def of(kind: str) -> dict[str, Path]:
        if kind not in written:
            folder = tmp_path_factory.mktemp(kind)
            subprocess.run([sys.executable, HERE / "artifacts.py", kind, folder], check=True)
            written[kind] = {path.stem: path for path in folder.glob("*.forest")}
        return written[kind]

    return of
