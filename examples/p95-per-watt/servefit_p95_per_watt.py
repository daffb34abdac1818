"""An objective for servefit: how fast the p95 is for each watt that the machine draws.

An objective does two things: it computes the figure of a test, and predicts that of a configuration that was not
tested. docs/adding-an-objective.md explains this module.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import ClassVar

from servefit.profiler.machine.host import Host
from servefit.search.results.energy import power_w
from servefit.search.results.objectives.contract import Context, Direction, Objective, Prediction
from servefit.search.results.objectives.energy import check_power
from servefit.search.results.recommendation import Trial

__version__ = "1.0"


class P95PerWatt(Objective):
    """The speed for each watt: 1 / p95, divided by the power of processors and GPU. With p95 / power, configurations
    that draw more power would win."""

    name: ClassVar[str] = "p95-per-watt"
    unit: ClassVar[str] = "/s per W"
    direction: ClassVar[Direction] = "max"
    aim: ClassVar[str] = "the fastest p95 for each watt"
    whole_machine: ClassVar[bool] = True

    def of_trial(self, trial: Trial, context: Context) -> float | None:
        p95_ms, watts = trial.judged.latency_ms["p95"], power_w(trial)
        return 1000 / p95_ms / watts if p95_ms and watts else None

    def learn(self, trials: Sequence[Trial]) -> float | None:
        watts = [watts for trial in trials if (watts := power_w(trial))]
        return fmean(watts) if watts else None

    def predicted(self, prediction: Prediction, context: Context) -> float | None:
        watts = context.learnt
        return 1000 / prediction.p95_ms / watts if isinstance(watts, float) and prediction.p95_ms else None

    def check(self, host: Host) -> None:
        check_power(self.name, host)

    def compared_by(self, context: Context) -> str:
        return "p95 per watt"
