"""The stand-in for an objective that cannot be used here, as that of a package that was uninstalled.

A job is read by it as far as it was measured: tests have no figure, and nothing is ranked. No job is run by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.search.results.objectives.contract import Objective

if TYPE_CHECKING:
    from servefit.errors import SpecError
    from servefit.search.results.objectives.contract import Context, Prediction
    from servefit.search.results.recommendation import Recommendation, Trial


class MissingObjective(Objective):
    """An objective without figures. ``problem`` is why the one of that name cannot be used."""

    unit = ""

    def __init__(self, name: str, problem: SpecError) -> None:
        vars(self).update(name=name, aim=f"the best by {name}")
        self.problem = problem

    def of_trial(self, trial: Trial, context: Context) -> None:  # noqa: ARG002
        return None

    def predicted(self, prediction: Prediction, context: Context) -> None:  # noqa: ARG002
        return None

    def evidence(self, best: Recommendation, context: Context) -> str:  # noqa: ARG002
        return ""

    @property
    def axis(self) -> str:
        return self.name

    @property
    def warning(self) -> str:
        """The sentence that a reader of the job must know."""
        return (
            f"goal {self.name!r} {self.problem.problem}: nothing is ranked by it, and what was measured over HTTP or "
            f"else first is named; install its package again for its ranking and figure"
        )
