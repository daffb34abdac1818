"""Jobs on a fleet: begun on any host, carried out by agents, and taken up again from any host.

Every class of hosts has a search of its own, in a thread; they run side by side, as the time of the job passes for all
of them. What a search does is for ``jobs.runner``, and who measures for it for ``measurer``.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from servefit.errors import AgentLost, SpecError, StorageError
from servefit.profiler.machine.background import in_background, work_in_background
from servefit.profiler.procedures.prepare import check_there
from servefit.quantities import percent_text
from servefit.search.fleet.answer import cost_of, goal_of
from servefit.search.fleet.class_search import ClassSearch
from servefit.search.fleet.classifying import classify
from servefit.search.fleet.database import fleet_address, fleet_leases
from servefit.search.fleet.dispatcher import Dispatcher
from servefit.search.fleet.fleet_job import BROKE_OFF, read_fleet_job
from servefit.search.fleet.guide.fleet_guide import SAME_COST, FleetGuide
from servefit.search.fleet.job_hosts import check_hosts, check_trust, job_hosts
from servefit.search.fleet.measurer import OfHost, settle
from servefit.search.fleet.selection import AWAY
from servefit.search.fleet.splitting import split_off
from servefit.search.fleet.subject import check_publishable, delete_unneeded, publish
from servefit.search.jobs.beginning import (
    check_free,
    checked_request,
    keep_new_job,
    new_header,
    open_subject,
)
from servefit.search.jobs.lifecycle import working_s
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.progress import before_search
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.database import silent
from servefit.search.storage.header import JobHost, JobState
from servefit.search.storage.job_folder import PAYLOAD_FILE, job_folder
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.outages import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from servefit.profiler.machine.host import Host
    from servefit.search.fleet.fleet_job import FleetJob
    from servefit.search.fleet.selection import Selection
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Skipped
    from servefit.search.storage.header import JobStatus, PlanRequest
    from servefit.search.storage.log import JobLog

_log = logging.getLogger(__name__)


_AWAY = " now: a plan that counts on it"
"""In the remark on a host that is not there any more."""

_TESTS_ENDED, _NOT_TESTED = "tests ended", "what was not tested"
"""Begin the remark on what more tests might change."""


class FleetInterrupted(KeyboardInterrupt):
    """The job was interrupted; ``job`` is what it had found until then."""

    def __init__(self, job: FleetJob) -> None:
        super().__init__(f"job {job.name} was interrupted")
        self.job = job


def run_fleet_job(
    source: Any,
    sample_payload: Any,
    request: JobRequest,
    selection: Selection,
    plan: PlanRequest,
    *,
    storage: str | None,
    trust_pickle: bool,
    trust_code: bool = False,
    progress: Progress,
) -> FleetJob:
    """Run a new job on the hosts of a fleet that ``selection`` chooses, and keep it in the database of the fleet at
    ``storage``; ``plan`` says how they are planned. This host measures nothing: it opens the model, on CPUs that no
    envelope takes, whatever else measures here.

    Raises SpecError where the request, the fleet or the choice is wrong, StorageError, ModelError and StateError
    before anything is measured; FleetInterrupted.
    """
    from servefit.profiler.machine.host import describe_host

    request = checked_request(request)
    if request.max_parallel_tests > 1:
        raise SpecError(
            "max_parallel_tests",
            request.max_parallel_tests,
            "is for tests on one host: on a fleet, classes of hosts are tested at the same time",
            remedy="leave it out",
        )
    address = fleet_address(storage)
    with ExitStack() as stack:
        store = stack.enter_context(JobStore.open(storage, patience_s=PATIENCE_S))
        dispatcher = Dispatcher(store.database, address, fleet_leases(store.database, address))
        chosen = selection.choose(dispatcher.registry.hosts())
        check_hosts(request, plan, chosen)
        hosts, skipped = job_hosts(request, chosen)
        check_free(request.name)
        check_there(source, sample_payload)
        own = describe_host()
        clock = Clock.of(request, now=working_s(store))
        progress.stage("opening the model", before_search(clock))
        with in_background(own.cpus):
            model, payload = open_subject(
                request, source, sample_payload, trust_pickle=trust_pickle, trust_code=trust_code
            )
        check_trust(model, chosen)
        header = new_header(request, model, payload, own, (), hosts, plan)
        check_publishable(header)
        log, folder = keep_new_job(header, payload, store)
        with log.owned():
            progress.stage("publishing the model", before_search(clock))
            publish(Blobs.of(store), header, folder / PAYLOAD_FILE)
            stack.enter_context(dispatcher.running())
            run = _FleetRun(log, store, dispatcher, progress, clock, skipped)
            run.classify()
            return run.carry_out(own)


def resume_fleet_job(name: str, *, storage: str | None, progress: Progress) -> FleetJob:
    """Take up a job on a fleet that was stopped, interrupted or killed, from any host; nothing is measured twice. What
    its agents were at when it was killed is waited for.

    Raises SpecError for a job that is over or not on a fleet, JobInUse for one that runs; otherwise as
    :func:`run_fleet_job`.
    """
    from servefit.profiler.machine.host import describe_host

    address = fleet_address(storage)
    with ExitStack() as stack:
        store = stack.enter_context(JobStore.open(storage, patience_s=PATIENCE_S))
        leases = fleet_leases(store.database, address)
        log = store.job(name)
        if not log.header.hosts:
            raise SpecError("job", name, "does not measure on a fleet", remedy=f"servefit resume {name}")
        if log.state.status in ("COMPLETED", "FAILED"):
            raise SpecError(
                "job", name, f"is over: {log.state.status}", remedy="begin another with servefit recommend --fleet"
            )
        spent_s = log.state_now().elapsed_s
        stack.enter_context(log.owned())
        dispatcher = Dispatcher(store.database, address, leases)
        stack.enter_context(dispatcher.running())
        if (payload := job_folder(name) / PAYLOAD_FILE).exists():
            # It may have been killed before they could have it.
            publish(Blobs.of(store), log.header, payload)
        settle(log, dispatcher)
        log.abandon_running_steps()
        clock = Clock.of(log.header.request, elapsed_before_s=spent_s, now=working_s(store))
        run = _FleetRun(log, store, dispatcher, progress, clock, log.state.skipped)
        if not log.header.representatives:
            run.classify()
        return run.carry_out(describe_host())


@dataclass(slots=True)
class _FleetRun:
    """A job on a fleet at work."""

    log: JobLog
    store: JobStore
    dispatcher: Dispatcher
    progress: Progress
    clock: Clock
    skipped: Sequence[Skipped]
    remarks: list[str] = field(default_factory=list)

    def classify(self) -> None:
        """Find out which hosts are alike, before anything else is measured. Raises AgentLost where none could be
        timed."""
        hosts = self.log.header.hosts
        self.progress.stage(f"timing {len(hosts)} hosts", before_search(self.clock))
        facts = {state.host.name: state.host.facts for state in self.dispatcher.registry.hosts()}
        there = [host for host in hosts if host.name in facts]
        classified, classes = classify(there, facts, self.log.header, self.dispatcher, self.clock)
        if not classified:
            raise AgentLost(hosts[0].name, "none of the hosts could be timed")
        self.remarks.extend(classes.remarks)
        self.log.classify(classified)

    def carry_out(self, own: Host) -> FleetJob:
        """Carry out what is left to do on all classes side by side, and return the job. Raises FleetInterrupted."""
        # What broke off before is taken up again, and what was open may be closed.
        passing = (BROKE_OFF, _TESTS_ENDED, _NOT_TESTED)
        self.remarks.extend(
            remark for remark in self.log.state.remarks if not remark.startswith(passing) and _AWAY not in remark
        )
        self.log.set_state(
            JobState(
                status="IN_PROGRESS",
                elapsed_s=self.clock.elapsed_before_s,
                remarks=tuple(self.remarks),
                skipped=tuple(self.skipped),
            )
        )
        representatives = tuple(self.log.header.representatives.values())
        guide = self._guide()
        interrupted = False
        pool = ThreadPoolExecutor(
            len(representatives), "servefit class", initializer=partial(work_in_background, own.cpus)
        )
        with silent(), pool:
            searches = [self._search_of(representative, guide) for representative in representatives]
            running = [pool.submit(search.carry_out) for search in searches]
            try:
                outcomes = [future.result() for future in running]
            except KeyboardInterrupt:
                interrupted = True
                self.log.request_stop()
                self.dispatcher.close()
                outcomes = [future.result() for future in running]
        if guide is not None and (saving := guide.saving()) is not None:
            self.remarks.append(_saving(saving))
        self.remarks.extend(self._away())
        unlike = {name: why for search in searches for name, why in search.unlike.items()}
        self.remarks.extend(split_off(self.log, unlike))
        self.log.set_state(self._state(outcomes, interrupted=interrupted))
        self._clean_up()
        job = read_fleet_job(self.store, self.log.name)
        if interrupted:
            raise FleetInterrupted(job)
        return job

    def _away(self) -> Iterator[str]:
        """Yield which hosts of the job are not there for a plan any more."""
        statuses = {state.host.name: state.status for state in self.dispatcher.registry.hosts()}
        for host in self.log.header.hosts:
            status = statuses.get(host.name, "gone")
            if status in AWAY:
                yield f"{host.name} is {status}{_AWAY} rests on what it was"

    def _clean_up(self) -> None:
        """Delete models and payloads that no job needs any more."""
        try:
            delete_unneeded(self.store)
        except StorageError as error:  # the job is over, and the next one cleans up
            _log.warning("models that no job needs stay in the database: %s", error)

    def _guide(self) -> FleetGuide | None:
        """Return what guides the searches by the plan, None where no rate was asked for that there would be a plan
        of."""
        header = self.log.header
        rate_per_s, wanted = header.request.sla.rate_per_s, header.plan
        if rate_per_s is None or wanted is None:
            return None
        least = goal_of(wanted, header.hosts)
        classes: dict[str, list[JobHost]] = {}
        for host in header.hosts:
            if host.host_class:
                classes.setdefault(host.host_class, []).append(host)
        return FleetGuide(
            rate_per_s=rate_per_s,
            wanted=wanted,
            hosts={name: tuple(twin.name for twin in alike) for name, alike in classes.items()},
            costs={
                name: fmean(cost_of(least, twin.name, dict(twin.cost)) for twin in alike)
                for name, alike in classes.items()
            },
            seed=header.request.seed,
        )

    def _search_of(self, host: JobHost, guide: FleetGuide | None) -> ClassSearch:
        return ClassSearch(
            host=host,
            job=self.log,
            store=self.store,
            dispatcher=self.dispatcher,
            progress=OfHost(self.progress, host.name),
            elapsed_s=lambda: self.clock.elapsed_s,
            skipped=self.skipped,
            fleet=guide,
        )

    def _state(self, outcomes: Sequence[tuple[JobStatus, str | None]], *, interrupted: bool) -> JobState:
        statuses = [status for status, _ in outcomes]
        status: JobStatus = "STOPPED"
        if not interrupted and "COMPLETED" in statuses:
            status = "COMPLETED"
        elif set(statuses) == {"FAILED"}:
            status = "FAILED"
        remarks = tuple(dict.fromkeys([*self.remarks, *(remark for _, remark in outcomes if remark is not None)]))
        return JobState(status=status, elapsed_s=self.clock.elapsed_s, remarks=remarks, skipped=tuple(self.skipped))


def _saving(part: float) -> str:
    """Return in a sentence by how much the plan may turn out to be cheaper."""
    if part <= SAME_COST:
        return f"{_TESTS_ENDED}: whatever else they found, the plan would cost the same within 1 %"
    return f"{_NOT_TESTED} may make the plan cheaper by up to {percent_text(part)}: more time (--budget) tells"
