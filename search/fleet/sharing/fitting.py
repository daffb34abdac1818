"""Pairs of models that fit side by side on a host, by what their jobs confirmed there, and the order to an agent that
finds out whether they hold their SLAs beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.profiler.evidence.summary import samples_needed
from servefit.profiler.procedures.open_loops import whole_cycles_s
from servefit.quantities import size_text
from servefit.search.fleet.answer import confirmed, confirmed_rate_per_s
from servefit.search.fleet.pair_orders import LoadPair, LoadSide
from servefit.search.fleet.plan.shared_hosts import SharedOffer
from servefit.search.fleet.sharing.cpu_sets import Need, why_not
from servefit.search.request.arrivals import cycle_s

if TYPE_CHECKING:
    from servefit.profiler.machine.host import Host
    from servefit.search.fleet.fleet_job import FleetJob
    from servefit.search.results.recommendation import Recommendation

ROUNDS = 4
"""Of an even number those that go forwards and backwards weigh the same. Three are the fewest that make an interval, so
that one may be disturbed. Chosen, not measured."""

MIN_TURN_S, MAX_TURN_S = 3.0, 15.0
"""The shortest leaves 2.5 s under load where the other model took half a second longer to warm up. The longest keeps a
pair within four minutes: a limit that takes more requests than come then stays UNDECIDED. Chosen, not measured."""

_TO_DECIDE = 8
"""Times the samples that a percentile takes, in all rounds together, as in a test of a job."""

_OF_A_TURN = 1.5
"""Times the samples that the percentile which turns are compared by takes, in every one."""

MAX_PAIRS = 5000
"""Of models on classes of hosts: above it a program is too large to be solved while somebody waits. Chosen, not
measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittingPair:
    """Two ``models`` that fit side by side on each of ``hosts``, which are one class of the plan, under load as in
    ``asked``, and what such a host would offer if both held their SLAs."""

    models: tuple[str, str]
    hosts: tuple[str, ...]
    asked: LoadPair
    offer: SharedOffer


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLeftOut:
    """Two ``models`` that are not planned together on ``host_class``, and why: nothing was measured."""

    host_class: str
    models: tuple[str, str]
    reason: str


def fitting_pairs(
    jobs: Mapping[str, FleetJob], alike: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[FittingPair, ...], tuple[PairLeftOut, ...]]:
    """Return the pairs of models that fit side by side on hosts which are ``alike``, by the name of the class in the
    plan, and those that do not. A class on which a model was not confirmed is in neither.

    Raises SpecError for one model, two models of one job, and for more pairs than can be looked through.
    """
    _check(jobs, classes=len(alike))
    fitting, left_out = [], []
    for pair in _pairs(jobs, alike):
        if isinstance(pair, FittingPair):
            fitting.append(pair)
        else:
            left_out.append(pair)
    return tuple(fitting), tuple(left_out)


def _check(jobs: Mapping[str, FleetJob], *, classes: int) -> None:
    if len(jobs) < 2:
        raise SpecError("share", None, "is for two models or more", remedy="name another with --model NAME=JOB")
    models: dict[str, str] = {}
    for model, job in jobs.items():
        if (other := models.setdefault(job.name, model)) != model:
            raise SpecError(
                "model",
                model,
                f"has the job of {other}, {job.name}: what a model costs itself on a host is in its own job",
                remedy="name another job",
            )
    if (pairs := classes * len(jobs) * (len(jobs) - 1) // 2) > MAX_PAIRS:
        raise SpecError(
            "share", None, f"makes {pairs:,} pairs of models on classes of hosts, and {MAX_PAIRS:,} can be planned",
            remedy="name fewer models",
        )  # fmt: skip


def _pairs(jobs: Mapping[str, FleetJob], alike: Mapping[str, tuple[str, ...]]) -> Iterator[FittingPair | PairLeftOut]:
    there = {model: _confirmed_on_hosts(job) for model, job in jobs.items()}
    for name, hosts in alike.items():
        for models in combinations(jobs, 2):
            recommendations = [there[model].get(hosts[0]) for model in models]
            if recommendations[0] is None or recommendations[1] is None:
                continue
            both = recommendations[0], recommendations[1]
            host = next(job_host.host for job_host in jobs[models[0]].header.hosts if job_host.name == hosts[0])
            reason = _why_apart(host, [jobs[model] for model in models], both)
            if reason is not None:
                yield PairLeftOut(host_class=name, models=models, reason=reason)
                continue
            asked = _asked([jobs[model] for model in models], both)
            first, second = asked.sides
            yield FittingPair(
                models=models,
                hosts=hosts,
                asked=asked,
                offer=SharedOffer(host_class=name, models=models, rates_per_s=(first.rate_per_s, second.rate_per_s)),
            )


def _confirmed_on_hosts(job: FleetJob) -> dict[str, Recommendation]:
    """Return the confirmed recommendation of each host by its name."""
    confirmed_on = {}
    for class_job in job.classes:
        best = confirmed(class_job, job.header.request)
        if best is not None:
            confirmed_on.update(dict.fromkeys(class_job.hosts, best))
    return confirmed_on


def _why_apart(host: Host, jobs: Sequence[FleetJob], recommendations: Sequence[Recommendation]) -> str | None:
    """Return why two models cannot be on one host, None where they can."""
    needs = [
        Need(vcpus=recommendation.trial.configuration.vcpus, deployment=job.header.request.deployment)
        for job, recommendation in zip(jobs, recommendations, strict=True)
    ]
    if (reason := why_not(host, needs)) is not None:
        return reason
    if all(recommendation.trial.configuration.gpu is not None for recommendation in recommendations):
        return "both take a GPU"
    needed = sum(recommendation.profile.memory_bytes for recommendation in recommendations)
    if needed > host.memory_bytes:
        return f"they need {size_text(needed)} of memory, and it has {size_text(host.memory_bytes)}"
    return None


def _asked(jobs: Sequence[FleetJob], recommendations: Sequence[Recommendation]) -> LoadPair:
    first, second = (
        LoadSide(
            job=job.name,
            configuration=recommendation.trial.configuration,
            rate_per_s=confirmed_rate_per_s(recommendation, job.header.request),
            memory_bytes=recommendation.profile.memory_bytes,
            model_digest=job.header.model.digest,
            payload_digest=job.header.payload.digest,
        )
        for job, recommendation in zip(jobs, recommendations, strict=True)
    )
    turn_s = max(turn_of(job, side.rate_per_s) for job, side in zip(jobs, (first, second), strict=True))
    return LoadPair(sides=(first, second), turn_s=turn_s, rounds=ROUNDS, seed=jobs[0].header.request.seed)


def turn_of(job: FleetJob, rate_per_s: float) -> float:
    """Return the seconds of a turn of a model at such a rate: as many whole ones as decide its SLA over all rounds."""
    request = job.header.request
    ranks = [threshold.rank for threshold in request.sla.thresholds] or [95.0]
    decided = max(_TO_DECIDE * samples_needed(rank) for rank in ranks) / (ROUNDS * rate_per_s)
    compared = _OF_A_TURN * samples_needed(ranks[0]) / rate_per_s
    turn_s = min(MAX_TURN_S, max(MIN_TURN_S, ceil(max(decided, compared))))
    return whole_cycles_s(max(turn_s, cycle_s(request)), cycle_s(request))
