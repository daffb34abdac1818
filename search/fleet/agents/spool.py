"""Answers that could not be delivered yet: files in the state folder, so that neither a database that is gone nor the
death of the agent loses what was measured."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from servefit.search.fleet.orders import Answer
from servefit.search.storage import records
from servefit.search.storage.records import Unreadable
from servefit.state import state_folder, write_atomically
from servefit.stored import Stored

_log = logging.getLogger(__name__)

_SUFFIX = ".json"


class Spooled(Stored, frozen=True, kw_only=True):
    """An answer to the order of a token, by the ``agent`` of that token."""

    token: str
    agent: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Spool:
    """The answers of the agent of a host, in ``folder``."""

    folder: Path

    @classmethod
    def of(cls, host: str) -> Spool:
        """Return the spool of the agent of that name. Raises StateError."""
        return cls(state_folder("fleet", host))

    def keep(self, spooled: Spooled) -> None:
        """Keep an answer until it is delivered. Raises StateError."""
        write_atomically(self._path(spooled), records.write(spooled, Spooled).encode())

    def drop(self, spooled: Spooled) -> None:
        """Forget an answer that was delivered."""
        self._path(spooled).unlink(missing_ok=True)

    def waiting(self) -> tuple[Spooled, ...]:
        """Return the answers that wait, the oldest first. A damaged file is told of, and stays."""
        found = []
        for path in sorted(self.folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime):
            try:
                found.append(records.read(path.read_text(), Spooled, path.name))
            except (Unreadable, UnicodeDecodeError) as error:
                _log.warning("%s is not delivered: %s", path, error)
        return tuple(found)

    def _path(self, spooled: Spooled) -> Path:
        return self.folder / f"{spooled.token}{_SUFFIX}"
