"""Exit statuses. 2 is the status of a wrong use in click, and 130 that of Ctrl-C in shells (128 + SIGINT); 3 to 6 are
servefit's own, and a part of its interface."""

from __future__ import annotations

from servefit.errors import BackendError, MeasurementError, ObjectiveError, ServefitError, StateError, StorageError

USAGE = 2
SLA_UNMET = 3
NOTHING_MEASURED = 4
TOO_NOISY = 5
UNDECIDED = 6
INTERRUPTED = 130


def status_of(error: ServefitError) -> int:
    """Return the exit status of ``error``: 2 where the options or files are wrong, 4 where nothing could be measured
    all the same."""
    fine = (BackendError, MeasurementError, ObjectiveError, StateError, StorageError)
    return NOTHING_MEASURED if isinstance(error, fine) else USAGE


def status_of_verdict(verdict: str | None) -> int:
    """Return the exit status of a measurement: 0 where the SLA and the rate were kept, or none was asked."""
    if verdict in (None, "PASS"):
        return 0
    return {"INVALID": TOO_NOISY, "UNDECIDED": UNDECIDED}.get(verdict, SLA_UNMET)
