"""The configurations that a job may try.

The space is small enough to write out: every envelope size x backend x its knobs x workers x batch x the user's own
variables, less what cannot be sensible (workers x threads above the envelope, unless the user's own ranges ask for
it). Instance profiles of one size share an envelope, and so share what is measured in it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from servefit.backends.types import Artifact, Knob, KnobValue, Settings, Target
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.machine.profiles import gpu_for
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import THREADS_VARIABLE, WORKERS_VARIABLE, EnvironmentRange, JobRequest

if TYPE_CHECKING:
    from servefit.profiler.machine.gpu import Gpu

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Most requests joined into one call, tried unasked: powers of two. Chosen, not measured."""

BATCH_DELAYS_US = (0, 1000)
"""Microseconds that the first of a batch may wait for others, tried unasked. Chosen, not measured."""

MAX_DELAY_SHARE = 0.5
"""A delay above this part of the tightest latency limit is not tried unasked: the other half is for the call itself and
those before it. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An artifact that was compiled for the job, with the knobs that its backend offers in an envelope of ``vcpus``."""

    artifact: Artifact
    vcpus: int
    knobs: tuple[Knob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingSpace:
    """The ways in which requests may be joined: every size with every delay, but single requests do not wait."""

    sizes: tuple[int, ...] = BATCH_SIZES
    delays_us: tuple[int, ...] = BATCH_DELAYS_US

    @classmethod
    def of(cls, request: JobRequest, *, batch_dependent: bool, called_singly: bool = False) -> Self:
        """Return what was asked for, else servefit's own sizes and those of its delays that leave the limits some room.

        Unasked, requests to a model that is ``batch_dependent`` are not joined unless the job allows it, and those to
        one that is ``called_singly`` never are.
        """
        tightest_us = min((1000 * threshold.limit_ms for threshold in request.sla.thresholds), default=math.inf)
        own = tuple(delay for delay in BATCH_DELAYS_US if delay <= MAX_DELAY_SHARE * tightest_us)
        joins = request.allow_batch_dependence or not batch_dependent
        sizes = request.batch_sizes or (BATCH_SIZES if joins and not called_singly else (1,))
        return cls(sizes=sizes, delays_us=request.batch_delays_us or own)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Iterate over pairs of most requests in a call and delay in microseconds."""
        for size in self.sizes:
            yield from ((size, delay) for delay in (self.delays_us if size > 1 else (0,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The configurations that each profile may have. Profiles of one size mostly have the same ones. ``less_exact`` are
    the backends among them whose artifacts predict less exactly than the model's own library."""

    profiles: tuple[tuple[InstanceProfile, frozenset[Configuration]], ...]
    grid: tuple[Configuration, ...]
    less_exact: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        profiles: Sequence[InstanceProfile],
        choices: Sequence[Choice],
        ranges: Sequence[EnvironmentRange],
        gpus: Sequence[Gpu],
        batching: BatchingSpace | None = None,
    ) -> Self:
        """Write the space out. A profile takes part with every choice made for its size, those on a GPU only where
        one of the host's ``gpus`` is of its model."""
        batching = batching or BatchingSpace()
        members: list[tuple[InstanceProfile, frozenset[Configuration]]] = []
        grid: dict[Configuration, None] = {}
        for profile in profiles:
            gpu = gpu_for(profile, gpus)
            own = [values for values in ranges if not values.profiles or profile.name in values.profiles]
            fitting = [
                configuration
                for choice in choices
                if choice.vcpus == profile.vcpus and (choice.artifact.target is Target.CPU or gpu is not None)
                for configuration in configurations(choice, own, gpu, batching)
            ]
            members.append((profile, frozenset(fitting)))
            grid.update(dict.fromkeys(fitting))
        return cls(profiles=tuple(members), grid=tuple(grid))

    def only(self, takes: Callable[[Configuration], bool]) -> Self:
        """Return the part of the space that ``takes`` says yes to."""
        kept = [configuration for configuration in self.grid if takes(configuration)]
        return replace(
            self,
            profiles=tuple((profile, fitting & frozenset(kept)) for profile, fitting in self.profiles),
            grid=tuple(kept),
        )

    def memory_bytes(self, configuration: Configuration) -> int | None:
        """Return the memory to measure ``configuration`` with: that of the largest profile that may have it. A smaller
        one that has less than the workers turned out to need is not recommended."""
        fitting_bytes = (profile.memory_bytes for profile, fitting in self.profiles if configuration in fitting)
        return max(fitting_bytes, default=None)


def configurations(
    choice: Choice, ranges: Sequence[EnvironmentRange], gpu: int | None, batching: BatchingSpace
) -> Iterator[Configuration]:
    """Iterate over every configuration of one artifact in one envelope. ``ranges`` replace servefit's own for what they
    name; ``gpu`` is the one that an artifact for a GPU runs on."""
    asked = {values.variable: values.values for values in ranges}
    knobs = {knob.name: knob.values for knob in choice.knobs}
    threads_offered = [int(value) for value in knobs.pop("threads", (1,))]
    threads = [int(value) for value in asked.pop(THREADS_VARIABLE, ())] or threads_offered
    workers = [int(value) for value in asked.pop(WORKERS_VARIABLE, ())]
    by_hand = any(values.counts for values in ranges)
    environments = list(itertools.product(*([(name, value) for value in values] for name, values in asked.items())))
    for thread_count in threads:
        for worker_count in workers or worker_counts(choice.vcpus, thread_count):
            if worker_count * thread_count > choice.vcpus and not by_hand:
                continue
            for options in _options(knobs, thread_count):
                for environment, (max_batch, delay_us) in itertools.product(environments, batching.pairs()):
                    yield Configuration(
                        vcpus=choice.vcpus,
                        backend=choice.artifact.backend,
                        target=choice.artifact.target,
                        settings=Settings(threads=thread_count, options=options),
                        workers=worker_count,
                        max_batch=max_batch,
                        batch_delay_us=delay_us,
                        environment=tuple(sorted(environment)),
                        gpu=gpu if choice.artifact.target is Target.CUDA else None,
                    )


def admits(
    profile: InstanceProfile, configuration: Configuration, ranges: Sequence[EnvironmentRange], gpus: Sequence[Gpu]
) -> bool:
    """Return whether ``profile`` may have ``configuration``, which some profile of the job may. How many threads a
    backend offers unasked is not known here, and taken for any number that fits."""
    own = [values for values in ranges if not values.profiles or profile.name in values.profiles]
    asked = {values.variable for values in own if values.counts}
    threads = configuration.settings.threads
    if not asked and configuration.workers * threads > configuration.vcpus:
        return False
    if WORKERS_VARIABLE not in asked and configuration.workers not in worker_counts(configuration.vcpus, threads):
        return False
    environment = dict(configuration.environment)
    counts = {THREADS_VARIABLE: configuration.settings.threads, WORKERS_VARIABLE: configuration.workers}
    for values in own:
        if values.counts:
            if counts[values.variable] not in map(int, values.values):
                return False
        elif environment.pop(values.variable, None) not in values.values:
            return False
    on_gpu = configuration.gpu is None or configuration.gpu == gpu_for(profile, gpus)
    return not environment and configuration.vcpus == profile.vcpus and on_gpu


def worker_counts(vcpus: int, threads: int) -> list[int]:
    """Return powers of two up to one worker for every ``threads`` vCPUs, and that number itself. At least one
    worker."""
    most = max(1, vcpus // threads)
    return sorted({1 << power for power in range(most.bit_length()) if 1 << power <= most} | {most})


def _options(knobs: dict[str, tuple[KnobValue, ...]], threads: int) -> Iterator[tuple[tuple[str, KnobValue], ...]]:
    """Iterate over the combinations of the backend's own knobs; with one thread a knob about waiting threads has no
    effect."""
    varied = {name: values if threads > 1 else values[:1] for name, values in sorted(knobs.items())}
    yield from itertools.product(*([(name, value) for value in values] for name, values in varied.items()))


def starting_points(grid: Sequence[Configuration]) -> list[Configuration]:
    """Return what to try first: of every backend in every envelope, one single-threaded worker a vCPU, one request a
    call.

    The largest envelope comes first, since it tells most about a backend. What the grid lacks (because the user's
    ranges leave it out) is replaced by the backend's plainest configuration there.
    """
    firsts: dict[tuple[int, str, Target, int | None], Configuration] = {}
    for plain in sorted(grid, key=_plainness):
        firsts.setdefault((plain.vcpus, plain.backend, plain.target, plain.gpu), plain)
    return sorted(firsts.values(), key=lambda first: -first.vcpus)


def _plainness(configuration: Configuration) -> tuple[int, int, int, int]:
    return (
        configuration.settings.threads,
        configuration.max_batch,
        configuration.batch_delay_us,
        -configuration.workers,
    )
