"""A checkout of servefit with an environment of its own (``.venv``), and how its commands are run.

Nothing of it is imported here: it is another version. Every checkout has its own state folder, since what one version
stored another need not read.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_PROBE = Path(__file__).with_name("probe.py")


class CheckoutError(Exception):
    """A folder that cannot be compared: ``folder`` and the ``reason``."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"{folder} {reason}")
        self.folder = folder
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that ended: what it printed, and the seconds it took, of the clock and of the CPU (its children's
    too)."""

    output: str
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The checkout in ``folder``. What it keeps, and its measuring slot, are in ``state``."""

    folder: Path
    state: Path

    @classmethod
    def open(cls, folder: Path, *, state: Path) -> Self:
        """Return the checkout in ``folder``, after making ``state``. Raises CheckoutError where ``folder`` has no
        ``.venv``, or one that has the servefit of another folder."""
        checkout = cls(folder=folder.absolute(), state=state)
        if not os.access(checkout.python, os.X_OK):
            raise CheckoutError(folder, f"has no {checkout.python.relative_to(checkout.folder)}")
        state.mkdir(parents=True)
        try:
            found = checkout.run("-c", "import servefit; print(servefit.__file__)").output.strip()
        except RuntimeError as error:
            raise CheckoutError(folder, f"cannot import servefit: {error}") from error
        if not Path(found).is_relative_to(checkout.folder):
            raise CheckoutError(folder, f"has a .venv whose servefit is {found}; install this folder into it")
        return checkout

    @property
    def python(self) -> Path:
        return self.folder / ".venv" / "bin" / "python"

    @property
    def variables(self) -> Mapping[str, str]:
        """What differs from the caller's environment. Its own slot, since the caller holds that of the host; bytecode
        is kept, or every start would compile all that it imports."""
        return {
            "SERVEFIT_HOME": str(self.state),
            "SERVEFIT_SLOT": str(self.state),
            "PYTHONPATH": "",
            "PYTHONDONTWRITEBYTECODE": "",
        }

    def renew_files(self) -> None:
        """Replace every file in ``state`` by a copy of itself. A compiled model is mapped from its file, whose pages
        stay where they are in memory for as long as they are cached: some places make calls several per cent slower,
        in every process, which would pass for a difference between two versions."""
        for file in [file for file in self.state.rglob("*") if file.is_file() and not file.is_symlink()]:
            copy = file.with_name(f"{file.name}.copy")
            shutil.copy2(file, copy)
            copy.replace(file)

    def run(self, *arguments: str, statuses: Collection[int] = (0,)) -> Ended:
        """Run this checkout's Python. Raises RuntimeError, with the end of what it wrote, for any other exit status."""
        before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        ended = subprocess.run(
            [self.python, *arguments],
            cwd=self.state,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        wall_s, after = time.monotonic() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
        if ended.returncode not in statuses:
            reason = ended.stderr.strip()[-1000:]
            raise RuntimeError(f"{self.folder} ended with {ended.returncode}: python {' '.join(arguments)}\n{reason}")
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Ended(output=ended.stdout, wall_s=wall_s, cpu_s=cpu_s)

    def probe(self, what: str, *arguments: object, statuses: Collection[int] = (0,)) -> tuple[Any, Ended]:
        """Run ``probe.py`` in this checkout, and return what it found beside the process. Raises as :meth:`run`."""
        file = self.state / "probe.json"
        ended = self.run(str(_PROBE), str(self.folder), str(file), what, *map(str, arguments), statuses=statuses)
        return json.loads(file.read_text()), ended
