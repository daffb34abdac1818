"""The guard of an objective of another package: what its methods return is checked, and errors name the package.

Without it, an exception would be a traceback, and NaN would make the ranking depend on the order of the tests: NaN
compares as neither smaller nor larger than any number. Texts become one line of printable characters. Objectives of
servefit itself are not guarded.
"""

from __future__ import annotations

from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any, TypeVar

from servefit.errors import ObjectiveError, ServefitError
from servefit.search.results.objectives.contract import Objective
from servefit.showing import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from servefit.profiler.machine.host import Host
    from servefit.search.results.objectives.contract import Context, Prediction
    from servefit.search.results.pooled_trials import PooledTrials
    from servefit.search.results.recommendation import Recommendation, Trial

_T = TypeVar("_T")

MAX_UNCERTAINTY = 10.0
"""The largest standard deviation of a logarithm that a prediction may have. It is a factor of 22,000; with much larger
ones, the expected improvement exceeds the range of a float."""


class GuardedObjective(Objective):
    """``guarded``, which ``package`` offers, as an objective whose methods raise ObjectiveError if those of ``guarded``
    raise, or return what the contract does not allow.

    A method that ``guarded`` inherits from Objective runs on the guard, so that it calls guarded methods too, and an
    error names the method that the package defines.
    """

    def __init__(self, guarded: Objective, package: str) -> None:
        self._guarded, self._package = guarded, package
        vars(self).update({attribute: getattr(type(guarded), attribute) for attribute in Objective.__annotations__})

    def of_trial(self, trial: Trial, context: Context) -> float | None:
        return self._call("of_trial", _figure_or_none, trial, context)

    def predicted(self, prediction: Prediction, context: Context) -> float | None:
        return self._call("predicted", _figure_or_none, prediction, context)

    def of_pooled_trials(self, pooled: PooledTrials, context: Context) -> float | None:
        return self._call("of_pooled_trials", _figure_or_none, pooled, context)

    def learn(self, trials: Sequence[Trial]) -> object:
        return self._call("learn", _anything, trials)

    def uncertainty(self, capacity_sd: float, latency_sd: float) -> float:
        return self._call("uncertainty", _uncertainty, capacity_sd, latency_sd)

    def explored(self, trial: Trial, context: Context) -> tuple[float | None, ...]:
        return self._call("explored", partial(_figures, count=self.explored_by), trial, context)

    def check(self, host: Host) -> None:
        # A refusal of the host is what the method is for.
        self._call("check", _nothing, host, passed_on=ServefitError)

    def compared_by(self, context: Context) -> str:
        return self._call("compared_by", _text, context)

    def times_better(self, context: Context) -> str:
        return self._call("times_better", _text, context)

    def evidence(self, best: Recommendation, context: Context) -> str:
        return self._call("evidence", _text, best, context)

    def figure_text(self, best: Recommendation, context: Context) -> str:
        return self._call("figure_text", _text, best, context)

    def text(self, figure: float) -> str:
        return self._call("text", _text, figure)

    def ties(self, best: float, other: float) -> bool:
        return self._call("ties", _yes_or_no, best, other)

    @property
    def axis(self) -> str:
        return self._checked("axis", _text, lambda: self._guarded.axis)

    def lower(self, figure: float) -> float:
        return self._call("lower", _figure, figure)

    def _call(
        self,
        method: str,
        accept: Callable[[Any], _T],
        *arguments: object,
        passed_on: type[ServefitError] = ObjectiveError,
    ) -> _T:
        """Call ``method`` with ``arguments``, and return what ``accept`` makes of the result. Raises ObjectiveError,
        and errors that are ``passed_on``."""

        def call() -> object:
            function, default = getattr(self._guarded, method), getattr(Objective, method)
            inherited = getattr(function, "__func__", None) is default
            return default(self, *arguments) if inherited else function(*arguments)

        return self._checked(f"{method}()", accept, call, passed_on)

    def _checked(
        self,
        name: str,
        accept: Callable[[Any], _T],
        call: Callable[[], object],
        passed_on: type[ServefitError] = ObjectiveError,
    ) -> _T:
        # An ObjectiveError is already complete: a guarded method called another.
        try:
            return accept(call())
        except (ObjectiveError, passed_on):
            raise
        except _NotAllowedError as error:
            raise ObjectiveError(self.name, self._package, f"{name} gave {error}") from None
        except (Exception, SystemExit) as error:
            problem = f"{name} raised {type(error).__name__}: {one_line(str(error))}"
            raise ObjectiveError(self.name, self._package, problem) from error


class _NotAllowedError(Exception):
    """A result that the contract does not allow, and the reason, as the end of a sentence."""


def _number(result: Any) -> float:
    if not isinstance(result, (int, float)) or isinstance(result, bool):
        raise _NotAllowedError(f"{result!r:.80}, which is no number")
    return float(result)


def _figure(result: Any) -> float:
    # The search asks for thousands of figures. NaN is not >= 0.
    if type(result) is float and result >= 0:
        return result
    figure = _number(result)
    if isnan(figure) or figure < 0:
        raise _NotAllowedError(f"{figure}, which cannot be ranked")
    return figure


def _figure_or_none(result: Any) -> float | None:
    return None if result is None else _figure(result)


def _figures(result: Any, *, count: int) -> tuple[float | None, ...]:
    figures = tuple(result)
    if len(figures) != count:
        raise _NotAllowedError(f"{len(figures)} figures, and explored_by says {count}")
    return tuple(map(_figure_or_none, figures))


def _uncertainty(result: Any) -> float:
    sd = _number(result)
    if not 0 < sd <= MAX_UNCERTAINTY:
        raise _NotAllowedError(f"{sd}, which is no standard deviation above 0 and up to {MAX_UNCERTAINTY:g}")
    return sd


def _text(result: Any) -> str:
    if not isinstance(result, str):
        raise _NotAllowedError(f"{result!r:.80}, which is no text")
    return one_line(result)


def _yes_or_no(result: Any) -> bool:
    if not isinstance(result, bool):
        raise _NotAllowedError(f"{result!r:.80}, which is no bool")
    return result


def _nothing(result: Any) -> None:
    if result is not None:
        raise _NotAllowedError(f"{result!r:.80}; to refuse a host, raise SpecError")


def _anything(result: Any) -> object:
    return result
