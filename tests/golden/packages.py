"""The packages of the examples that jobs of the kept sets were measured with, installed without pip."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"

NAMES = ("cosine-arrivals", "tail-ratio")


def install(folder: Path) -> Path:
    """Put the packages into a new ``folder``, for PYTHONPATH; return it."""
    folder.mkdir(parents=True)
    for name in NAMES:
        project = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text())
        for module in project["tool"]["setuptools"]["py-modules"]:
            shutil.copy(EXAMPLES / name / f"{module}.py", folder)
        described = folder / f"{project['project']['name'].replace('-', '_')}-1.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['project']['name']}\nVersion: 1.0\n"
        )
        (described / "entry_points.txt").write_text(_entry_points(project["project"]["entry-points"]))
    return folder


def _entry_points(groups: dict[str, dict[str, str]]) -> str:
    return "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in groups.items()
    )
