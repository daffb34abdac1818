"""Exit statuses."""

from __future__ import annotations

from servefit.errors import BackendError, MeasurementError, ObjectiveError, ServefitError, StateError, StorageError

USAGE = 2
SLA_UNMET = 3
NOTHING_MEASURED = 4
TOO_NOISY = 5
INTERRUPTED = 130


def status_of(error: ServefitError) -> int:
    """2 for what was asked or given, 4 where that was fine and nothing could be measured."""
    fine = (BackendError, MeasurementError, ObjectiveError, StateError, StorageError)
    return NOTHING_MEASURED if isinstance(error, fine) else USAGE
