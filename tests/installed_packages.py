"""Packages as an installer leaves them: a module, and the metadata that says what it offers to servefit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_package(folder: Path, package: str, *, group: str, name: str, target: str, source: str) -> None:
    """Write the package, version 1.0, into ``folder``: a module with this source, of which ``target``, such as
    "module:Backend", is offered as ``name`` in the ``group`` of entry points. It is found once ``folder`` is on the
    path of a process."""
    described = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    described.mkdir(parents=True, exist_ok=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    (folder / f"{target.partition(':')[0]}.py").write_text(source)
