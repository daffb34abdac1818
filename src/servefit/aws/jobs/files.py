"""The files of a job behind the API, in a folder of its own: its plan, its journal, when it was begun, and how it
ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from servefit.aws.jobs.journal import Journal
from servefit.aws.jobs.plan import Plan
from servefit.state import write_atomically

Ended: TypeAlias = Literal["COMPLETED", "FAILED", "STOPPED"]


class JobOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a job; ``reason`` why it FAILED, None otherwise. ``ended_at`` is when, in seconds since 1970, None
    until the outcome is written. ``blames_data`` says that it FAILED for what its data is, and would again."""

    status: Ended
    reason: str | None = None
    ended_at: float | None = None
    blames_data: bool = False


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The files in ``folder``, one for each."""

    folder: Path

    @property
    def journal(self) -> Journal:
        return Journal(self.folder / "journal.jsonl")

    def write_plan(self, plan: Plan) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._plan, msgspec.json.encode(plan))

    def plan(self) -> Plan:
        return msgspec.json.decode(self._plan.read_bytes(), type=Plan)

    def write_begin(self) -> None:
        """Note that the job of servefit that this one is carried out by is about to be made."""
        write_atomically(self._begin, msgspec.json.encode(time.time()))

    def began_at(self) -> float | None:
        """Return when that was noted, in seconds since 1970, None where it was not."""
        try:
            return msgspec.json.decode(self._begin.read_bytes(), type=float)
        except FileNotFoundError:
            return None

    def write_outcome(self, outcome: JobOutcome) -> None:
        """Keep how the job ended, now unless the outcome says when."""
        if outcome.ended_at is None:
            outcome = msgspec.structs.replace(outcome, ended_at=time.time())
        write_atomically(self._outcome, msgspec.json.encode(outcome))

    def outcome(self) -> JobOutcome | None:
        """Return how the job ended, None where it has not."""
        try:
            return msgspec.json.decode(self._outcome.read_bytes(), type=JobOutcome)
        except FileNotFoundError:
            return None

    def version(self) -> tuple[int, int, bool]:
        """Return what changes whenever something happens to the job: when its journal was last written, in nanoseconds
        since 1970, how long that is, and whether the job has ended."""
        try:
            facts = self.journal.path.stat()
        except FileNotFoundError:
            return 0, 0, self._outcome.exists()
        return facts.st_mtime_ns, facts.st_size, self._outcome.exists()

    @property
    def _plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def _begin(self) -> Path:
        return self.folder / "begin.json"

    @property
    def _outcome(self) -> Path:
        return self.folder / "outcome.json"
