"""Virtual environments for servers that are compared, each of the exact versions in ``locks``.

They live in the state folder, named after what is in them, and never in servefit's own environment.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from servefit.state import state_folder

_LOCKS = Path(__file__).with_name("locks")


def versions(name: str) -> Mapping[str, str]:
    """Return the versions in the environment ``name`` by package."""
    lines = (_LOCKS / f"{name}.txt").read_text().split()
    return dict(line.split("==") for line in lines)


def environment(name: str) -> Path:
    """Return the Python of the environment ``name``, which is installed from PyPI if it is missing, in a minute.

    ``--no-deps`` because a lock names all that is needed, and leaves out NCCL, which xgboost brings for GPUs.
    """
    lock = _LOCKS / f"{name}.txt"
    digest = hashlib.sha256(f"{sys.version} {lock.read_text()}".encode()).hexdigest()
    folder = state_folder("benchmarks", "servers") / f"{name}-{digest[:16]}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if complete.exists():
        return python
    print(f"installing {name} into {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    quietly = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([python, "-m", "pip", "install", *quietly, "-r", lock], check=True, stdout=sys.stderr)
    complete.touch()
    return python
