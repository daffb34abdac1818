"""The bench of a search, which measures for it: real workers, or a table of figures that were measured before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.confirmation_plan import ConfirmationPlan
    from servefit.search.results.recommendation import Trial
    from servefit.search.simulation.endpoint import EndpointCosts


class OutOfTime(Exception):
    """The job's budget ran out before something was measured to its end; the message says what."""


class Bench(Protocol):
    """Whatever measures for a search. What cannot be measured is None; ``clock.tests`` counts every load test. All
    methods raise OutOfTime."""

    def time(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        """Time calls of ``subject`` alone, with each number of requests."""
        ...

    def is_predicted(self, configuration: Configuration) -> bool:
        """Return whether tests of ``configuration`` are predicted from what it does in process, which takes the costs
        of an endpoint."""
        ...

    def endpoint_costs(self, subject: Configuration) -> EndpointCosts | None:
        """Measure what requests cost in an endpoint beside their predictions, by one that serves ``subject``, unless
        that is known of its backend. Its tests are predicted with that from then on; those of a backend of which it is
        not known with what was measured first."""
        ...

    def load_tests(self, batch: Sequence[Configuration]) -> Mapping[Configuration, Trial | None]:
        """Put each of ``batch`` under load, all at the same time."""
        ...

    def in_turn(self, configuration: Configuration, nth_round: int, instances: int) -> Trial | None:
        """Put a finalist, of which there would be so many ``instances``, under a short load."""
        ...

    def confirm(
        self, configuration: Configuration, plan: ConfirmationPlan, *, rate_per_s: float | None = None
    ) -> Trial | None:
        """Put the winner under load again, as planned: at ``rate_per_s`` on each instance, or at its share of the rate
        that was asked for."""
        ...

    def fit_at_once(self, vcpus: Sequence[int]) -> bool:
        """Return whether envelopes of these sizes can be measured at the same time."""
        ...
