"""An agent's orders and answers on its disk, so that neither a database that is gone nor the death of the agent loses
what was measured, nor has it measured twice.

There are answers that could not be delivered yet, answers that the database refuses, and for a day all that was begun,
with what was answered: a database that is restored from a backup asks for it again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from servefit.search.fleet.orders import Answer
from servefit.search.storage import records
from servefit.search.storage.records import Unreadable
from servefit.state import state_folder, write_atomically, writing
from servefit.stored import Stored

_log = logging.getLogger(__name__)

_SUFFIX = ".json"

KEPT_S = 24 * 3600.0
"""Orders that were begun are known for so long. Backups are mostly made once a day. Chosen, not measured."""


class Spooled(Stored, frozen=True, kw_only=True):
    """An answer to the order of a token, by the ``agent`` of that token."""

    token: str
    agent: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Spool:
    """The answers of the agent of a host, in ``folder``. Writing raises StateError."""

    folder: Path

    @classmethod
    def of(cls, host: str) -> Spool:
        """Return the spool of the agent of that name. Raises StateError."""
        return cls(state_folder("fleet", host))

    def begin(self, token: str) -> None:
        """Keep that an order is begun."""
        path = self._path(token, self._begun)
        with writing(path):
            path.touch()

    def has_begun(self, token: str) -> bool:
        """Return whether an agent of the host has begun the order before."""
        return self._path(token, self._begun).exists()

    def keep(self, spooled: Spooled) -> None:
        """Keep an answer until it is delivered."""
        write_atomically(self._path(spooled.token), records.write(spooled, Spooled).encode())

    def waiting(self) -> tuple[Spooled, ...]:
        """Return the answers that wait, the oldest first. A damaged file is told of, and stays."""
        paths = sorted(self.folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
        return tuple(spooled for spooled in map(_read, paths) if spooled is not None)

    def have_delivered(self, spooled: Spooled) -> None:
        """Take note that an answer was delivered, and forget those that were long ago."""
        self._move(spooled.token, self._begun)
        for path in self._begun.glob(f"*{_SUFFIX}"):
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink(missing_ok=True)

    def delivered(self, token: str) -> Spooled | None:
        """Return the answer to an order that was delivered before, None where there is none."""
        path = self._path(token, self._begun)
        return _read(path) if path.exists() and path.stat().st_size else None

    def set_aside(self, spooled: Spooled) -> Path:
        """Deliver an answer no more, and return where it is now."""
        return self._move(spooled.token, self._folder("refused"))

    @property
    def _begun(self) -> Path:
        return self._folder("begun")

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        with writing(folder):
            folder.mkdir(exist_ok=True)
        return folder

    def _path(self, token: str, folder: Path | None = None) -> Path:
        return (folder or self.folder) / f"{token}{_SUFFIX}"

    def _move(self, token: str, folder: Path) -> Path:
        path, moved = self._path(token), self._path(token, folder)
        with writing(moved):
            if path.exists():
                path.replace(moved)
        return moved


def _read(path: Path) -> Spooled | None:
    """Return what is in a file; None where it is damaged, which is told."""
    try:
        spooled: Spooled = records.read(path.read_text(), Spooled, path.name)
    except (Unreadable, UnicodeDecodeError) as error:
        _log.warning("%s is not delivered: %s", path, error)
        return None
    return spooled
