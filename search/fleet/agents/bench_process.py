"""The process that carries the orders of one job, of a pair of them, or of a load, out on the host of an agent, which
starts it and talks to it.

It is apart from the agent, so that libraries that crash take an order with them and not the agent, and so that the
agent can be light and of low priority where this must not be. It reads a line of JSON for every order from its
standard input, and answers each with one: what came of it, or, before that, what it does meanwhile. It ends when there
is no more input, and with the agent, however that ends.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from base64 import b64encode
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import inf
from typing import IO, TYPE_CHECKING, Any

from servefit.backends.compilation import compile_model
from servefit.backends.variables.allowed_variables import check_variables
from servefit.errors import ServefitError, SlotTaken
from servefit.processes import die_with_parent
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.search.fleet.classes.calibration import TimedModel, calibrate_host
from servefit.search.fleet.compiling import CompilationNotes, Compile, Compiled, CompiledBackend
from servefit.search.fleet.launching.agent_options import CONSENT
from servefit.search.fleet.load.client import send_load
from servefit.search.fleet.load_orders import LoadClient
from servefit.search.fleet.orders import Answer, Calibrate, Failure, Order
from servefit.search.fleet.pair_orders import LoadPair
from servefit.search.fleet.sharing.pair_bench import Here, load_pair
from servefit.search.fleet.subject import obtain
from servefit.search.jobs.measurer import LocalMeasurer
from servefit.search.jobs.orders import SurveyEndpoint, TimeCalls
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.results.recommendation import CompilationReport, Trial
from servefit.search.storage import records
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.job_folder import job_folder
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.outages import PATIENCE_S
from servefit.state import writing
from servefit.stored import Stored
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servefit.profiler.machine.slot.holding import Slot
    from servefit.profiler.record.types import Configuration
    from servefit.search.fleet.orders import Result
    from servefit.search.fleet.pair_orders import PairLoaded
    from servefit.search.results.host_timing import HostTiming

INTERRUPTED = 130
"""The status of a process that was interrupted, as shells have it."""

WAIT_S = 1.0
"""Between two times that the agent is told what is waited for."""


class Hello(Stored, frozen=True, kw_only=True):
    """The first line that the process is sent: where the ``job`` is kept that its orders are for, the name of this
    ``host`` in it, and what the owner of the host allows."""

    storage: str
    job: str
    host: str
    trust_pickle: bool
    trust_code: bool = False
    allows: tuple[str, ...]


class HostBench:
    """The job, opened on this host, and what measures for it."""

    def __init__(self, hello: Hello) -> None:
        """Raises ServefitError where the job, its model or its payload cannot be had here."""
        self._hello = hello
        # A cable that is out when the job is opened costs no more than one that is out while it is measured.
        with JobStore.open(hello.storage, patience_s=PATIENCE_S) as store:
            header = store.job(hello.job).header.on(hello.host)
            subject = obtain(Blobs.of(store), header, trust_pickle=hello.trust_pickle, trust_code=hello.trust_code)
        header = replace(header, model=subject.model)
        folder = job_folder(hello.job)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._log = CompilationNotes(header=header, before=())
        self._measurer = LocalMeasurer(header=header, payload=subject.payload, folder=folder, log=self._log)

    def carry_out(self, order: Order, slot: Slot) -> Result:
        """Carry out what is asked, while ``slot`` is held. Raises BackendError, MeasurementError, and SpecError for
        what is not allowed."""
        asked, measurer = order.asked, self._measurer
        if isinstance(asked, Calibrate):
            return self._calibrate(slot)
        if isinstance(asked, Compile):
            return self._compile(asked, order)
        if not measurer.deployments.artifacts:
            # This process is younger than the compilation. All is in the cache.
            self._compile(Compile(), order)
        if isinstance(asked, TimeCalls):
            self._check(asked.subject)
            return measurer.time_calls(asked)
        if isinstance(asked, SurveyEndpoint):
            self._check(asked.subject)
            return measurer.survey_endpoint(asked)
        if isinstance(asked, LoadClient | LoadPair):
            raise TypeError(f"{type(asked).__name__} does not belong to one job")
        self._check(asked.configuration)
        return measurer.load(asked)

    def _check(self, configuration: Configuration) -> None:
        """Raise SpecError where an order sets what the owner of the host does not let others set."""
        check_variables(configuration.environment, self._hello.allows, remedy=CONSENT)

    def recorded(self, result: Result) -> str | None:
        """Return what a load recorded, in base64; None of all else, and where that was not kept, which is remarked."""
        if not isinstance(result, Trial) or result.kept_in is None:
            return None
        path = job_folder(self._hello.job) / result.kept_in
        with writing(path):
            return b64encode(path.read_bytes()).decode()

    def answer(self, order: Order, slot: Slot) -> Answer:
        """Return the answer to ``order``, which is carried out while ``slot`` is held. Raises as :meth:`carry_out`."""
        result = self.carry_out(order, slot)
        return Answer(
            result=result,
            waited_s=slot.waited_s,
            remarks=self.remarks(),
            model_digest=self._log.header.model.digest,
            recorded=self.recorded(result),
        )

    def remarks(self) -> tuple[str, ...]:
        """Return what there was to remark since this was asked last."""
        said, self._measurer.remarks[:] = tuple(self._measurer.remarks), []
        return said

    def _calibrate(self, slot: Slot) -> HostTiming:
        header, payload = self._log.header, self._measurer.payload
        artifact = compile_model(header.model, header.model.reference, payload=payload).artifact
        timed = TimedModel(artifact=artifact, rows=payload.rows, rows_per_request=header.request.rows_per_request)
        return calibrate_host(header.host, slot=slot, model=timed)

    def _compile(self, asked: Compile, order: Order) -> Compiled:
        self._log.before, self._log.ended = asked.before, []
        clock = Clock.of(self._log.header.request, elapsed_before_s=order.elapsed_s)
        candidates, choices = self._measurer.compile(clock, SilentProgress())
        return Compiled(
            reports=tuple(
                (step.result, step.began_at, step.ended_at or step.began_at)
                for step in self._log.ended
                if isinstance(step.result, CompilationReport)
            ),
            choices=tuple(map(CompiledBackend.of, choices)),
            skipped=tuple(candidates.skipped),
            remarks=tuple(candidates.remarks),
        )


def main() -> None:
    """Carry out the orders that come, until no more do."""
    die_with_parent(int(sys.argv[1]))
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # The output of libraries goes to the log of the agent.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lines = iter(sys.stdin.readline, "")
    hello: Hello = records.read(next(lines), Hello, "hello")
    bench: HostBench | None = None
    for line in lines:
        order: Order = records.read(line, Order, "order")
        waited_s = 0.0
        try:
            with _slot(order, answers) as slot:
                waited_s = slot.waited_s
                if isinstance(order.asked, LoadClient):
                    part = send_load(order.asked, order.token, hello.storage)
                    answer = Answer(result=part, waited_s=waited_s)
                elif isinstance(order.asked, LoadPair):
                    with time_limit(_counting_down(order.limit_s)):
                        answer = Answer(result=_load_pair(order.asked, hello), waited_s=waited_s)
                else:
                    bench = bench or HostBench(hello)
                    with time_limit(_counting_down(order.limit_s)):
                        answer = bench.answer(order, slot)
        except ServefitError as error:
            answer = Answer(failure=Failure.of(error), waited_s=waited_s)
        _say(answers, {"answer": json.loads(records.write(answer, Answer))})


def _load_pair(asked: LoadPair, hello: Hello) -> PairLoaded:
    for side in asked.sides:
        check_variables(side.configuration.environment, hello.allows, remedy=CONSENT)
    return load_pair(
        asked,
        Here(storage=hello.storage, name=hello.host, trust_pickle=hello.trust_pickle, trust_code=hello.trust_code),
    )


@contextmanager
def _slot(order: Order, answers: IO[str]) -> Iterator[Slot]:
    """Hold the measuring slot, and tell whom it is waited for; ``waited_s`` of what this gives is all of that time."""
    began_s = time.monotonic()
    with ExitStack() as stack:
        while True:
            try:
                slot = stack.enter_context(measuring_slot(f"{order.purpose} of a fleet", wait_s=WAIT_S))
                break
            except SlotTaken as error:
                _say(answers, {"waiting": error.who})
        _say(answers, {"measuring": order.job})
        yield replace(slot, waited_s=time.monotonic() - began_s)


def _counting_down(limit_s: float | None) -> Callable[[], float]:
    ends_s = inf if limit_s is None else time.monotonic() + limit_s
    return lambda: ends_s - time.monotonic()


def _say(answers: IO[str], document: dict[str, Any]) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
