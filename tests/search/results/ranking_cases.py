"""Profiles, configurations and measurements that rankings are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.backends.types import Settings
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.request.space import Space
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.ranking import (
    best_for,
    recommend,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.search.conftest import MakeTrial

    from servefit.search.request.job_request import Goal
    from servefit.search.results.recommendation import Trial

FAST = Configuration(vcpus=2, backend="fast", workers=2)
SLOW = Configuration(vcpus=2, backend="slow", workers=2)
BATCHED = Configuration(vcpus=2, backend="fast", workers=2, max_batch=8)
THREADED = Configuration(vcpus=2, backend="fast", settings=Settings(threads=2))


def profile(name: str, vcpus: int = 2, price_per_hour: float | None = None) -> InstanceProfile:
    return InstanceProfile(name=name, vcpus=vcpus, memory_bytes=2**30, price_per_hour=price_per_hour)


def request_of(goal: Goal = "cost", *, at_rate: bool = False, **asked: Any) -> JobRequest:
    return JobRequest(name="job", goal=goal, sla=Sla(rate_per_s=100.0 if at_rate else None), **asked)


def names(
    profiles: list[InstanceProfile], trials: list[Trial], goal: Goal = "cost", *, at_rate: bool = False
) -> list[str]:
    everything = frozenset(trial.configuration for trial in trials)
    space = Space(profiles=tuple((profile, everything) for profile in profiles), grid=tuple(everything))
    return [recommended.profile.name for recommended in recommend(space, trials, request_of(goal, at_rate=at_rate))]


def best(trials: list[Trial], request: JobRequest | None = None) -> Configuration | None:
    found = best_for(profile("a"), pool_trials(trials), request or request_of(), trials)
    return None if found is None else found.configuration


def in_turns(
    trial: MakeTrial, configuration: Configuration, factors: tuple[float, ...], per_s: float = 1000.0
) -> list[Trial]:
    """A load test, and a round for each of ``factors``."""
    return [
        trial(configuration, throughput_per_s=per_s),
        *(trial(configuration, throughput_per_s=per_s * each, nth_round=nth) for nth, each in enumerate(factors)),
    ]


def rounds_of(trial: MakeTrial, p95_ms: Mapping[Configuration, Sequence[float]]) -> list[Trial]:
    return [
        trial(configuration, p95_ms=each_ms, nth_round=nth)
        for configuration, all_ms in p95_ms.items()
        for nth, each_ms in enumerate(all_ms)
    ]
