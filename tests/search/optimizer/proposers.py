"""Proposers on a small grid, whose predictions are exact: a call of n requests takes 1 + n / 10 ms at the slowest."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.predictions import Surrogate
from servefit.search.optimizer.proposer import Proposer
from servefit.search.optimizer.service_time_survey import Survey, timed_as
from servefit.search.request.job_request import JobRequest
from servefit.search.request.space import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.search.conftest import MakeTrial

    from servefit.search.optimizer.proposer import Proposal

SPEEDS = {"slow": 1.0, "middle": 1.2, "fast": 1.5}

GRID = tuple(
    Configuration(vcpus=vcpus, backend=backend, workers=workers, max_batch=batch)
    for vcpus, backend, workers, batch in product((1, 2, 4), SPEEDS, (1, 2, 4), (1, 8))
    if workers <= vcpus
)


def outlook_of(
    request: JobRequest, grid: Sequence[Configuration] = GRID, *, timed: Iterable[str] = SPEEDS
) -> Surrogate:
    """What is expected where a call of n requests takes 1 + n / 10 ms at the slowest, with calls of the backends
    ``timed``."""
    profiles = tuple(
        (
            InstanceProfile(name=f"{vcpus}c", vcpus=vcpus, memory_bytes=2**30),
            frozenset(configuration for configuration in grid if configuration.vcpus == vcpus),
        )
        for vcpus in (1, 2, 4)
    )
    survey = Survey.of(grid)
    for backend, workers in product(timed, (1, 2, 4)):
        batches = tuple(
            BatchTimes(requests=size, strata_ns=(1e6 * (1 + size / 10) / SPEEDS[backend],)) for size in (1, 8)
        )
        configuration = Configuration(vcpus=4, backend=backend, workers=workers)
        survey.known[timed_as(configuration, workers)] = ServiceTimes(batches=batches, workers=workers)
    return Surrogate(Space(profiles=profiles, grid=tuple(grid)), survey, request)


def proposer_of(
    *,
    timed: Iterable[str] = SPEEDS,
    exhaustive: bool = False,
    grid: Sequence[Configuration] = GRID,
    **asked: object,
) -> Proposer:
    request = JobRequest(name="job", **asked)  # type: ignore[arg-type]
    return Proposer(grid, request, surrogate=outlook_of(request, grid, timed=timed), exhaustive=exhaustive)


def truth(configuration: Configuration) -> float:
    """Requests a second, as predicted."""
    return (
        configuration.workers
        * configuration.max_batch
        / (1 + configuration.max_batch / 10)
        * 1000
        * SPEEDS[configuration.backend]
    )


def searched(
    proposer: Proposer, trial: MakeTrial, capacity: Callable[[Configuration], float] = truth, *, most: int = 1000
) -> list[Proposal]:
    """Everything that is proposed while each is answered with its capacity; 0 for what fails."""
    seen: list[Proposal] = []
    while len(seen) < most and (proposal := proposer.next()) is not None:
        seen.append(proposal)
        answer(proposer, trial, proposal.configuration, capacity(proposal.configuration))
    return seen


def answer(proposer: Proposer, trial: MakeTrial, configuration: Configuration, capacity_per_s: float) -> None:
    if capacity_per_s:
        proposer.learn(trial(configuration, throughput_per_s=capacity_per_s, at_rate=False))
    else:
        proposer.fail(configuration)
