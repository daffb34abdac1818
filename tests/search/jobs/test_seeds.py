"""The seeds of what a job measures, which follow from the one that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest

from servefit.backends.model import Model
from servefit.errors import MeasurementError
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.profiles import find_profile
from servefit.profiler.record.types import Configuration
from servefit.search.jobs.beginning import keep_new_job, new_header, open_subject
from servefit.search.jobs.job_bench import JobBench
from servefit.search.jobs.measurer import LocalMeasurer
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.confirmation_plan import ConfirmationPlan
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.job_request import JobRequest
from servefit.search.results.measure_trial import Durations
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servefit.search.jobs.cpu_slots import CpuSlot
    from servefit.search.jobs.orders import Load, TimeCalls
    from servefit.search.storage.steps import Attempt

SUBJECT = Configuration(backend="xgboost", vcpus=1)
ONE_RUN = ConfirmationPlan(runs=1, each=Durations(capacity_s=1.0, at_rate_s=0.0, at_rate_max_s=0.0))

Seeds = tuple[int, int, int]
"""Those of a timing of calls, of a confirmation, and of a turn in a round."""


class Refusing(LocalMeasurer):
    """Measures nothing, and remembers the seeds of what it was asked for."""

    def time_calls(self, order: TimeCalls, _attempt: Attempt | None = None, /) -> NoReturn:
        self._refuse(order.seed)

    def load(self, order: Load, _attempt: Attempt | None = None, /, slot: CpuSlot | None = None) -> NoReturn:
        self._refuse(order.seed)

    def _refuse(self, seed: int) -> NoReturn:
        self.remarks.append(str(seed))
        raise MeasurementError("nothing is measured here")


@pytest.fixture
def seeds_of(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Seeds]:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))
    host = describe_host()
    first = JobRequest(name="first")
    opened, payload = open_subject(first, model, None, trust_pickle=False)
    assert isinstance(opened, Model)
    jobs = 0

    def seeds_of(seed: int) -> Seeds:
        nonlocal jobs
        jobs += 1
        request = JobRequest(name=f"job-{jobs}", seed=seed, deploy="library", over_http=False)
        header = new_header(request, opened, payload, host, (find_profile("local-1c", host),))
        with JobStore.open() as store:
            log, folder = keep_new_job(header, payload, store)
            measurer = Refusing(header=header, payload=payload, folder=folder, log=log)
            clock = Clock.of(request)
            bench = JobBench(log=log, measurer=measurer, clock=clock, progress=SilentProgress(), remarks=[])
            with log.owned():
                bench.time(SUBJECT, (1,))
                bench.confirm(SUBJECT, ONE_RUN)
                bench.in_turn(SUBJECT, 0, 1)
        timing, confirmation, turn = map(int, measurer.remarks)
        return timing, confirmation, turn

    return seeds_of


def test_what_a_job_measures_has_other_arrivals_with_another_seed_and_the_same_with_the_same(
    seeds_of: Callable[[int], Seeds],
) -> None:
    one, other = seeds_of(7), seeds_of(8)
    assert len({*one, *other}) == 6
    assert seeds_of(7) == one
