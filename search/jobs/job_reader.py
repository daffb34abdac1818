"""Reads jobs again and again, for a server: opening their database takes longer than reading one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.errors import StorageError
from servefit.search.jobs.lifecycle import read_job
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob


class JobReader:
    """Reads jobs from the database of the state folder, which it opens when the first is asked for, and again where it
    was replaced meanwhile. One thread at a time may use it; it is to be closed."""

    def __init__(self) -> None:
        self._store: JobStore | None = None

    def job(self, name: str) -> RecommendationJob:
        """Read the job of that name, as far as it is. Raises SpecError for an unknown one, StorageError, StateError."""
        if self._store is not None:
            try:
                return read_job(self._store, name)
            except StorageError:  # the file was removed, or the server it was on: what there is now, opening it tells
                self.close()
        self._store = JobStore.open()
        return read_job(self._store, name)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
