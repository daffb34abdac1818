"""Two models of two jobs under load on this host, in turns: each alone, and both at the same time.

Both are started once, on CPUs of their own, and stay: one that has no turn waits without requests. Every second round
goes backwards, so that a host that becomes slower or faster meanwhile does so for all turns alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from servefit.errors import BackendError, MeasurementError
from servefit.profiler.arrivals.seeds import derived_seed
from servefit.profiler.evidence.undisturbed import counted
from servefit.profiler.procedures.decided_runs import ATTEMPTS, undisturbed_part
from servefit.profiler.record.traffic import OpenLoop
from servefit.search.fleet.compiling import CompilationNotes
from servefit.search.fleet.pair_orders import PairLoaded
from servefit.search.fleet.sharing.cpu_sets import Need, cpu_sets, why_not
from servefit.search.fleet.sharing.interference import SideRuns, side_loaded
from servefit.search.fleet.subject import obtain
from servefit.search.jobs.compile_candidates import compile_candidates
from servefit.search.jobs.deployments import Deployments
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.jobs import JobStore
from servefit.time_limit import time_left_s

if TYPE_CHECKING:
    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.record.types import Run
    from servefit.search.fleet.pair_orders import LoadPair, LoadSide
    from servefit.search.request.job_request import JobRequest

MIN_TOGETHER = 0.75
"""The part of a turn of both for which both have to be under load. They warm up for half a second at most, and one may
take less than the other; what is not of both counts for neither."""

BETWEEN_S = 1.5
"""A turn takes no more time beside its load, to warm up and to keep what was recorded. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """This host, by its name in jobs, the ``storage`` that they are in, and whether its owner lets it unpickle."""

    storage: str
    name: str
    trust_pickle: bool
    trust_code: bool = False


def load_pair(asked: LoadPair, here: Here) -> PairLoaded:
    """Put the two models of ``asked`` under load side by side.

    Raises ServefitError where a job, its model or its payload cannot be had here, BackendError where one cannot be
    compiled, and MeasurementError where they do not fit, or where not one round could be measured.
    """
    deployments = [_opened(side, here) for side in asked.sides]
    headers = [deployment.header for deployment in deployments]
    needs = [
        Need(vcpus=side.configuration.vcpus, deployment=header.request.deployment)
        for side, header in zip(asked.sides, headers, strict=True)
    ]
    slots = cpu_sets(headers[0].host, needs)
    if slots is None:
        raise MeasurementError(f"two models cannot share {here.name}: {why_not(headers[0].host, needs)}")
    with ExitStack() as stack:
        drivers = [
            stack.enter_context(deployment.asked_for(side.configuration, slot, memory_bytes=side.memory_bytes))
            for deployment, side, slot in zip(deployments, asked.sides, slots, strict=True)
        ]
        rounds = _Rounds(asked, drivers, [header.request for header in headers])
        measured = list(rounds.measure())
    if not measured:
        raise MeasurementError(f"no round of two models could be measured on {here.name}: {rounds.problems[0]}")
    problems = tuple(dict.fromkeys(rounds.problems))
    first, second = (
        side_loaded(
            SideRuns(
                request=headers[nth].request,
                workers=side.configuration.workers,
                rate_per_s=side.rate_per_s,
                cpus=drivers[nth].envelope.cpus,
                alone=[measured_round.alone[nth] for measured_round in measured],
                beside=[measured_round.together[nth] for measured_round in measured],
            ),
            problems=problems,
        )
        for nth, side in enumerate(asked.sides)
    )
    return PairLoaded(sides=(first, second), rounds=len(measured), problems=problems)


def _opened(side: LoadSide, here: Here) -> Deployments:
    """Return what starts the model of ``side`` here, which is compiled."""
    with JobStore.open(here.storage) as store:
        header = store.job(side.job).header.on(here.name)
        if (header.model.digest, header.payload.digest) != (side.model_digest, side.payload_digest):
            raise MeasurementError(f"job {side.job} is about another model, or payload, than was asked for")
        subject = obtain(Blobs.of(store), header, trust_pickle=here.trust_pickle, trust_code=here.trust_code)
    backend = side.configuration.backend
    # It was compiled for the job and is in the cache; the budget of the job does not count here.
    request = replace(header.request, backends=(backend,), budget_s=None)
    notes = CompilationNotes(header=replace(header, model=subject.model, request=request), before=())
    compiled = compile_candidates(notes, subject.payload, Clock.of(request), SilentProgress())
    target = side.configuration.target
    if not any((artifact.backend, artifact.target) == (backend, target) for artifact in compiled.artifacts):
        reasons = [
            *(step.reason for step in notes.ended if step.reason),
            *(skipped.reason for skipped in compiled.skipped),
        ]
        raise BackendError(backend, f"is not there for job {side.job}: {'; '.join(reasons) or 'nothing was compiled'}")
    return Deployments(header=notes.header, payload=subject.payload, artifacts=compiled.artifacts)


@dataclass(frozen=True, slots=True)
class _Round:
    """The runs of a round, of each model ``alone`` and of both ``together``."""

    alone: tuple[Run, Run]
    together: tuple[Run, Run]


class _Rounds:
    """The rounds of ``asked``, with what serves the two models. ``problems`` are why rounds do not count."""

    def __init__(self, asked: LoadPair, drivers: Sequence[MeasuredDriver], requests: Sequence[JobRequest]) -> None:
        self._asked = asked
        self._drivers = drivers
        self._requests = requests
        self.problems: list[str] = []

    def measure(self) -> Iterator[_Round]:
        """Yield the rounds that count, as far as there is time."""
        turns: tuple[tuple[int, ...], ...] = ((0,), (0, 1), (1,))
        for nth in range(self._asked.rounds):
            runs_of_turn: dict[tuple[int, ...], tuple[Run, ...]] = {}
            for turn in turns if nth % 2 == 0 else reversed(turns):
                if not self._has_time():
                    self.problems.append("the time was over")
                    return
                runs = self._turn(nth, turn)
                if runs is None:
                    break
                runs_of_turn[turn] = runs
            else:
                (first,), (second,), (one, other) = runs_of_turn[0,], runs_of_turn[1,], runs_of_turn[0, 1]
                yield _Round((first, second), (one, other))

    def _turn(self, nth: int, turn: tuple[int, ...]) -> tuple[Run, ...] | None:
        """Return the runs of a turn, made again where the machine got in the way; None where it always does."""
        problem = ""
        for _ in range(ATTEMPTS):
            result = self._run(nth, turn)
            if not isinstance(result, str):
                return result
            problem = result
            if not self._has_time():
                break
        self.problems.append(problem)
        return None

    def _run(self, nth: int, turn: tuple[int, ...]) -> tuple[Run, ...] | str:
        """Carry out a turn once, and return its runs, or what is wrong with it."""
        if len(turn) == 1:
            runs = [self._carry_out(nth, turn[0])]
        else:
            with ThreadPoolExecutor(len(turn), "servefit pair") as pool:
                running = [pool.submit(copy_context().run, self._carry_out, nth, side) for side in turn]
                runs = [future.result() for future in running]
        kept = []
        for side, run in zip(turn, runs, strict=True):
            request = self._requests[side]
            limit_ms = min((threshold.limit_ms for threshold in request.sla.thresholds), default=None)
            whole, problems = undisturbed_part(self._drivers[side], run, limit_ms, allow_noise=request.allow_noise)
            if problems and not request.allow_noise:
                return problems[0].reason
            kept.append(whole)
        return tuple(kept) if len(kept) == 1 else together(kept)

    def _has_time(self) -> bool:
        return time_left_s() >= self._asked.turn_s + BETWEEN_S

    def _carry_out(self, nth: int, side: int) -> Run:
        request = self._requests[side]
        traffic = OpenLoop(
            rate_per_s=self._asked.sides[side].rate_per_s,
            duration_s=self._asked.turn_s,
            arrivals=request.arrivals,
            seed=derived_seed(self._asked.seed, nth, side),
        )
        return self._drivers[side].run(traffic)


def together(runs: Sequence[Run]) -> tuple[Run, ...] | str:
    """Return ``runs`` without what lies outside the time in which all were under load, or why that is too short. Where
    one was ended for its backlog all count as they are: it did not hold its rate."""
    if any(run.stopped is not None for run in runs):
        return tuple(runs)
    begin, end = max(run.plateau_ns[0] for run in runs), min(run.plateau_ns[1] for run in runs)
    part = min((end - begin) / (run.plateau_ns[1] - run.plateau_ns[0]) for run in runs)
    if part < MIN_TOGETHER:
        return f"both were under load at the same time for {max(0.0, 100 * part):.0f} % of a turn"
    return tuple(_within(run, begin, end) for run in runs)


def _within(run: Run, begin_ns: int, end_ns: int) -> Run:
    """Return what ``run`` recorded from ``begin_ns`` to ``end_ns``."""
    low, high = run.plateau_ns
    inside = [
        (max(begin, begin_ns), min(end, end_ns)) for begin, end in run.left_out_ns if begin < end_ns and end > begin_ns
    ]
    outside = [span for span in ((low, begin_ns), *inside, (end_ns, high)) if span[0] < span[1]]
    return counted(replace(run, left_out_ns=tuple(outside)))
