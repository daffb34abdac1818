"""The loads of jobs on real workers, as short as a verdict allows, for tests in which their length is no subject."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from servefit.search.jobs import tasks
from servefit.search.optimizer import confirmation_plan
from servefit.search.results.measure_trial import Durations

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT = Durations(capacity_s=0.3, at_rate_s=0.5, at_rate_max_s=0.5)


@contextmanager
def short_durations() -> Iterator[None]:
    """Let each load of a job's tests, of the one run of its confirmation and of its closing take half a second. It is
    for jobs of this process: in a fixture of any scope, or as the decorator of a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SCREENING", "DURATIONS", "DURATIONS_ALONE"):
            patch.setattr(tasks, name, SHORT)
        patch.setattr(confirmation_plan, "CONFIRMING", SHORT)
        patch.setattr(confirmation_plan, "CONFIRMING_RUNS", 1)
        yield
