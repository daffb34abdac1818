"""The search on one class of the hosts of a job, from compiling to what was confirmed, by agents of its hosts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servefit.errors import ServefitError, StateError, StorageError
from servefit.search.fleet.fleet_job import BROKE_OFF
from servefit.search.fleet.guide.class_guide import ClassGuide, confirmed_before
from servefit.search.fleet.guide.fleet_guide import Standing
from servefit.search.fleet.measurer import FleetMeasurer
from servefit.search.jobs.job import JobStopped, tests_in, trials_of
from servefit.search.jobs.lifecycle import working_s
from servefit.search.jobs.runner import JobRunner
from servefit.search.optimizer.clock import Clock
from servefit.search.storage.class_log import ClassLog
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from servefit.profiler.record.types import Configuration
    from servefit.search.fleet.dispatcher import Dispatcher
    from servefit.search.fleet.guide.fleet_guide import FleetGuide
    from servefit.search.optimizer.progress import Progress
    from servefit.search.results.recommendation import Skipped
    from servefit.search.storage.header import JobHost, JobStatus
    from servefit.search.storage.jobs import JobStore
    from servefit.search.storage.log import JobLog
    from servefit.search.storage.steps import Step

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class ClassSearch:
    """The search on the class of ``host`` for ``job``, which has taken ``elapsed_s`` so far and leaves out what is
    ``skipped``. ``fleet`` guides it by the plan of all classes, None where there is no plan. ``unlike`` has the hosts
    that turned out not to be like their class, with what tells them from it."""

    host: JobHost
    job: JobLog
    store: JobStore
    dispatcher: Dispatcher
    progress: Progress
    elapsed_s: Callable[[], float]
    skipped: Sequence[Skipped]
    fleet: FleetGuide | None
    unlike: dict[str, str] = field(default_factory=dict)

    def carry_out(self) -> tuple[JobStatus, str | None]:
        """Search to the end, or as far as there is time and an agent; give how that ended, and what there is to say of
        it. Raises StorageError and StateError."""
        try:
            return self._carry_out(ClassLog(self.job, self.host.name))
        finally:
            # Whatever came of it, others must not wait for this class.
            if self.fleet is not None:
                self.fleet.ended(self.host.host_class)

    def _carry_out(self, log: ClassLog) -> tuple[JobStatus, str | None]:
        fleet, steps = self.fleet, log.steps()
        if (before := log.state.status) in ("COMPLETED", "FAILED"):
            if fleet is not None:
                confirmed_per_s = max(_confirmed(steps).values(), default=0.0)
                fleet.ended(self.host.host_class, Standing(likely_per_s=0.0, confirmed_per_s=confirmed_per_s))
            return before, None
        runner = self._runner(log, steps)
        status: JobStatus = "STOPPED"
        remark = None
        try:
            with time_limit(lambda: runner.clock.left_s, runner.clock.budget):
                runner.carry_out()
            has_answer = runner.search is not None and bool(runner.search.recommendations())
            status = "COMPLETED" if has_answer or runner.guide.left_alone else "FAILED"
        except JobStopped:
            pass
        except (StorageError, StateError):
            raise
        except ServefitError as error:
            # The agent is lost, or cannot have the model: other classes go on.
            remark = f"{BROKE_OFF}{self.host.name} and hosts like it: {error}"
            runner.remarks.append(remark)
        log.set_state(runner.state(status))
        _log.info("job %s on %s: %s", log.name, self.host.name, status)
        return status, remark

    def _runner(self, log: ClassLog, steps: Sequence[Step]) -> JobRunner:
        clock = Clock.of(
            log.header.request,
            elapsed_before_s=self.elapsed_s(),
            tests=tests_in(steps),
            now=working_s(self.store),
        )
        twins = tuple(twin.name for twin in self.job.header.hosts if twin.host_class == self.host.host_class)
        measurer = FleetMeasurer(log=log, dispatcher=self.dispatcher, hosts=twins, clock=clock, progress=self.progress)
        runner = JobRunner(log=log, store=self.store, measurer=measurer, clock=clock, progress=self.progress)
        runner.skipped.extend(self.skipped)
        if self.fleet is not None:
            runner.guide = ClassGuide(
                host_class=self.host.host_class,
                fleet=self.fleet,
                check=lambda configuration, rate_per_s, name: runner.bench.spot_check(
                    configuration, rate_per_s=rate_per_s, attempt=measurer.attempt_on(name)
                ),
                stopped=log.stop_requested,
                confirmed_per_s=dict(_confirmed(steps)),
                remarks=runner.remarks,
                unlike=self.unlike,
            )
        return runner


def _confirmed(steps: Iterable[Step]) -> Mapping[Configuration, float]:
    return confirmed_before(trials_of(steps, ("confirmation",)))
