"""Load on two models side by side, as documents: what an agent is asked for, and what it answers.

How the load is made, and what is worked out of it, is in ``sharing``.
"""

from __future__ import annotations

from servefit.profiler.evidence.limits import Verdict
from servefit.profiler.evidence.summary import Summary
from servefit.profiler.record.types import Configuration
from servefit.stored import Stored


class LoadSide(Stored, frozen=True, kw_only=True):
    """One model of a pair, in the ``configuration`` that ``job`` confirmed, at the rate at which it did, in an envelope
    of ``memory_bytes`` (None: as much as there is). The digests are those of the model and the payload: the database
    keeps what an open order names."""

    job: str
    configuration: Configuration
    rate_per_s: float
    memory_bytes: int | None
    model_digest: str
    payload_digest: str


class LoadPair(Stored, frozen=True, kw_only=True):
    """Put both ``sides`` under load, on CPUs of their own, in ``rounds`` of three turns of ``turn_s``: one alone, both
    at the same time, the other alone. Arrivals come from ``seed``, and are the same in all turns of a round."""

    sides: tuple[LoadSide, LoadSide]
    turn_s: float
    rounds: int
    seed: int


class Change(Stored, frozen=True, kw_only=True):
    """The part by which a figure is larger beside the other model than alone: 0.1 is a tenth more. ``low`` and ``high``
    are its 95 % interval over rounds."""

    part: float
    low: float
    high: float


class UnderLoad(Stored, frozen=True, kw_only=True):
    """The figures of a model in all of its turns of one kind, held against its SLA at the rate of the pair."""

    summary: Summary
    verdict: Verdict
    reason: str | None


class SideLoaded(Stored, frozen=True, kw_only=True):
    """The results of one model of a pair: ``alone``, and ``beside`` the other on ``cpus``. ``latency`` is the change of
    the ``percentile`` of its response time, ``service`` that of the median time that the model itself takes; None where
    it is not known."""

    cpus: tuple[int, ...]
    rate_per_s: float
    alone: UnderLoad
    beside: UnderLoad
    percentile: str
    latency: Change | None
    service: Change | None


class PairLoaded(Stored, frozen=True, kw_only=True):
    """The results of a pair: its two ``sides``, over as many ``rounds`` as count. ``problems`` are why others do
    not."""

    sides: tuple[SideLoaded, SideLoaded]
    rounds: int
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether each model was confirmed to hold its SLA beside the other."""
        return all(side.beside.verdict == "PASS" for side in self.sides)

    @property
    def is_disturbed(self) -> bool:
        """Whether the machine got in the way of so much that nothing is known of a model."""
        return any("INVALID" in (side.alone.verdict, side.beside.verdict) for side in self.sides)
