"""Objectives that follow from two figures alone: how many requests an instance answers at most, and its p95.

What was measured, what all measurements of a configuration amount to, and what is predicted then differ only in where
these two come from.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from servefit.search.results.objectives.contract import Objective
from servefit.search.results.pooled_trials import latency_ms, vcpu_s_and_p95_ms

if TYPE_CHECKING:
    from servefit.search.results.objectives.contract import Context, Prediction
    from servefit.search.results.pooled_trials import PooledTrials
    from servefit.search.results.recommendation import Recommendation, Trial


class PerformanceObjective(Objective):
    """An objective whose figure is a function of capacity and p95."""

    explored_by: ClassVar[int] = 2

    @abstractmethod
    def figure(self, capacity_per_s: float, p95_ms: float, context: Context) -> float:
        """Return the figure of what answers ``capacity_per_s`` with ``p95_ms``, infinite where that is not known."""

    def paid_per_s(self, capacity_per_s: float, instances: int, context: Context) -> float:  # noqa: ARG002
        """Return the requests a second that an instance is paid for."""
        return capacity_per_s

    def of_trial(self, trial: Trial, context: Context) -> float:
        paid_per_s = self.paid_per_s(trial.capacity.throughput_per_s, trial.instance_count, context)
        return self.figure(paid_per_s, latency_ms(trial), context)

    def of_pooled_trials(self, pooled: PooledTrials, context: Context) -> float:
        paid_per_s = self.paid_per_s(pooled.capacity_per_s, pooled.trial.instance_count, context)
        return self.figure(paid_per_s, pooled.p95_ms, context)

    def predicted(self, prediction: Prediction, context: Context) -> float:
        paid_per_s = self.paid_per_s(prediction.capacity_per_s, prediction.instances, context)
        return self.figure(paid_per_s, prediction.p95_ms, context)

    def evidence(self, best: Recommendation, context: Context) -> str:  # noqa: ARG002
        """Return nothing: the figure follows from what the sentence says anyway."""
        return ""

    def explored(self, trial: Trial, context: Context) -> tuple[float | None, ...]:  # noqa: ARG002
        """Return both, each by itself: vCPU-seconds of an inference, and p95 in ms."""
        return vcpu_s_and_p95_ms(trial)
