"""Objectives of other packages that fail, and packages that offer what is no objective."""

from __future__ import annotations

import re
from math import inf, nan
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from tests.conformance.trials import trial

from servefit.errors import ObjectiveError, ServefitError, SpecError, UnsupportedModel
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.search.request.goals import parse_goal
from servefit.search.results.objectives.contract import Context, Objective, Prediction
from servefit.search.results.objectives.guarded import GuardedObjective
from servefit.search.results.objectives.registry import objective
from servefit.search.results.objectives.throughput import Throughput
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.price import Price
from servefit.search.results.ranking import recommendation

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.search.conftest import InstallObjective

    from servefit.search.results.recommendation import Trial

CONTEXT = Context(price=Price.of(0.1, 2), rate_per_s=None, cost_weight=0.5)
(POOLED,) = pool_trials([trial()])
BEST = recommendation(InstanceProfile(name="box", vcpus=2, memory_bytes=2**30, price_per_hour=0.1), trial())
PREDICTION = Prediction(configuration=trial().configuration, capacity_per_s=100.0)


class Odd(Objective):
    """Returns what each method is told to return, or raises it; one without an answer is that of Objective."""

    name: ClassVar[str] = "odd"
    unit: ClassVar[str] = "units"
    aim: ClassVar[str] = "the least oddity"

    def of_trial(self, trial: Trial, context: Context) -> float | None:
        return 1.0

    def predicted(self, prediction: Prediction, context: Context) -> float | None:
        return 1.0


def odd(method: str, gives: Any) -> Objective:
    """Return a guarded objective whose ``method`` returns or raises ``gives``."""

    def answer(*_: object) -> Any:
        if isinstance(gives, Exception | SystemExit):
            raise gives
        return gives

    kind = type("Odder", (Odd,), {method: property(answer) if method == "axis" else answer})
    return GuardedObjective(kind(), "oddities 1.0")


CALLS: dict[str, Callable[[Objective], object]] = {
    "of_trial": lambda objective: objective.of_trial(trial(), CONTEXT),
    "of_pooled_trials": lambda objective: objective.of_pooled_trials(POOLED, CONTEXT),
    "predicted": lambda objective: objective.predicted(PREDICTION, CONTEXT),
    "learn": lambda objective: objective.learn([trial()]),
    "uncertainty": lambda objective: objective.uncertainty(0.1, 0.2),
    "explored": lambda objective: objective.explored(trial(), CONTEXT),
    "lower": lambda objective: objective.lower(1.0),
    "ties": lambda objective: objective.ties(1.0, 1.01),
    "check": lambda objective: objective.check(describe_host()),
    "compared_by": lambda objective: objective.compared_by(CONTEXT),
    "times_better": lambda objective: objective.times_better(CONTEXT),
    "evidence": lambda objective: objective.evidence(BEST, CONTEXT),
    "figure_text": lambda objective: objective.figure_text(BEST, CONTEXT),
    "text": lambda objective: objective.text(1.0),
    "axis": lambda objective: objective.axis,
}
"""A call of everything that an objective may define."""

FIGURES = ("of_trial", "of_pooled_trials", "predicted")
TEXTS = ("compared_by", "times_better", "evidence", "figure_text", "text", "axis")

UNFIT: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(FIGURES, (nan, -1.0, "3", True)),
    "lower": (nan, -1.0, "3", None),
    "uncertainty": (nan, inf, -1.0, 0.0, 100.0, "3", None),
    "explored": ((nan,), (-1.0,), ("3",), (), (1.0, 2.0), 3.0, None),
    "ties": (None, 1, "yes"),
    "check": (False, "no"),
    **dict.fromkeys(TEXTS, (None, 3, b"text")),
}


def test_everything_that_an_objective_may_define_is_called_here() -> None:
    assert CALLS.keys() == {name for name in vars(Objective) if not name.startswith("_")} - set(
        Objective.__annotations__
    )


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("raised", [ZeroDivisionError("by zero"), SystemExit(0), UnsupportedModel("odd")])
def test_whatever_a_method_raises_is_an_error_that_names_the_package(method: str, raised: Any) -> None:
    if method == "check" and isinstance(raised, ServefitError):
        raised = KeyError("host")
    with pytest.raises(ObjectiveError) as caught:
        CALLS[method](odd(method, raised))
    assert (caught.value.goal, caught.value.package) == ("odd", "oddities 1.0")
    assert re.match(rf"{method}(\(\))? raised {type(raised).__name__}: ", caught.value.reason)
    assert caught.value.remedy


@pytest.mark.parametrize(("method", "gives"), [(method, gives) for method in UNFIT for gives in UNFIT[method]])
def test_what_a_method_may_not_return_is_an_error_that_names_the_package(method: str, gives: Any) -> None:
    with pytest.raises(ObjectiveError, match=rf"goal 'odd' of oddities 1\.0 failed: {method}(\(\))? "):
        CALLS[method](odd(method, gives))


@pytest.mark.parametrize("method", [*FIGURES, "lower"])
@pytest.mark.parametrize("gives", [0, 3, 2.5, inf])
def test_a_figure_may_be_any_number_from_zero_to_infinity(method: str, gives: float) -> None:
    found = CALLS[method](odd(method, gives))
    assert type(found) is float
    assert found == gives


def test_a_figure_may_be_unknown_and_an_axis_a_plain_attribute() -> None:
    assert [CALLS[method](odd(method, None)) for method in FIGURES] == [None] * 3
    named = type("Named", (Odd,), {"axis": "oddity"})
    assert GuardedObjective(named(), "oddities 1.0").axis == "oddity"


def test_a_check_may_refuse_a_host() -> None:
    with pytest.raises(SpecError, match="cannot be measured here"):
        odd("check", SpecError("goal", "odd", "cannot be measured here")).check(describe_host())


@pytest.mark.parametrize("method", ["of_pooled_trials", "explored", "figure_text", "evidence"])
def test_what_a_method_of_servefit_makes_of_an_unfit_figure_names_the_method_of_the_package(method: str) -> None:
    with pytest.raises(ObjectiveError, match=r": of_trial\(\) gave nan"):
        CALLS[method](odd("of_trial", nan))


def test_a_guarded_objective_is_otherwise_the_one_that_it_guards() -> None:
    kind = type("Full", (Odd,), {"direction": "max", "needs_rate": False, "priced": True, "explored_by": 2})
    guarded = GuardedObjective(kind(), "oddities 1.0")
    for attribute in Objective.__annotations__:
        assert getattr(guarded, attribute) == getattr(kind, attribute)
    assert guarded.lower(4.0) == 0.25
    assert guarded.text(3.0) == "3 units"
    assert guarded.times_better(CONTEXT) == "times as good by odd"


def test_texts_become_one_line_of_printable_characters() -> None:
    class Painted(Odd):
        def text(self, figure: float) -> str:
            return f"\x1b[31m{figure}\x1b[0m\n{self.unit}\x9b0m"

        @property
        def axis(self) -> str:
            return "odd,\r\nunits"

    painted = GuardedObjective(Painted(), "oddities 1.0")
    assert painted.text(2.5) == "2.5 units0m"
    assert painted.axis == "odd, units"


WHOLE = """
from servefit.search.results.objectives.contract import Objective

class Offered(Objective):
    name, unit, aim, direction = {name!r}, "units", "the fewest units", {direction!r}
    def of_trial(self, trial, context): return 1.0
    def predicted(self, prediction, context): return None
"""


def test_an_objective_of_another_package_is_found_by_its_name(install_objective: InstallObjective) -> None:
    install_objective("whole", "units-whole", WHOLE.format(name="units-whole", direction="min"))
    assert parse_goal("units-whole") == "units-whole"
    assert objective("units-whole").of_trial(trial(), CONTEXT) == 1.0


def test_objectives_of_other_packages_alone_are_guarded(install_objective: InstallObjective) -> None:
    source = WHOLE.format(name="units-nan", direction="min").replace("return 1.0", "return float('nan')")
    install_objective("foreign", "units-nan", source)
    with pytest.raises(ObjectiveError, match=r"goal 'units-nan' of foreign 1\.0 failed: of_trial\(\) gave nan"):
        objective("units-nan").of_trial(trial(), CONTEXT)
    assert type(objective("throughput")) is Throughput


def test_a_name_that_two_packages_offer_is_refused_with_both(install_objective: InstallObjective) -> None:
    for package in ("left", "right"):
        install_objective(package, "units-twice", WHOLE.format(name="units-twice", direction="min"))
    for ask in (parse_goal, objective):
        with pytest.raises(
            SpecError, match=r"goal: 'units-twice' is offered by left 1\.0 and right 1\.0; uninstall all"
        ):
            ask("units-twice")


@pytest.mark.parametrize(
    ("name", "source", "problem"),
    [
        ("units-a", "Offered = 3", "is no class that derives from Objective"),
        ("units-b", "class Offered: pass", "is no class that derives from Objective"),
        (
            "units-c",
            WHOLE.format(name="units-c", direction="min").replace("def predicted", "def expected"),
            "has no predicted",
        ),
        ("units-d", WHOLE.format(name="other", direction="min"), "calls itself 'other'"),
        ("units-e", WHOLE.format(name="units-e", direction="down"), "has the direction 'down'"),
        (
            "units-k",
            WHOLE.format(name="units-k", direction="min").replace('"units"', r'"\x1b[31munits"'),
            "has the unit .*, which is no line of printable text",
        ),
        ("units-f", WHOLE.format(name="units-f", direction="min").replace('"units"', "None"), "has no unit"),
        (
            "units-g",
            WHOLE.format(name="units-g", direction="min") + "    def __init__(self): 1 / 0\n",
            "cannot be made: ZeroDivisionError",
        ),
        (
            "units-i",
            WHOLE.format(name="units-i", direction="min") + "    needs_rate = 'no'\n",
            "has the needs_rate 'no'",
        ),
        ("units-j", WHOLE.format(name="units-j", direction="min") + "    explored_by = 0\n", "has the explored_by 0"),
        ("units-h", "1 / 0", "cannot be imported from .*: ZeroDivisionError"),
    ],
)
def test_what_is_no_objective_is_refused_with_its_package(
    install_objective: InstallObjective, name: str, source: str, problem: str
) -> None:
    package = f"odd{name[-1]}"
    install_objective(package, name, source)
    assert parse_goal(name) == name
    with pytest.raises(SpecError, match=problem) as caught:
        objective(name)
    assert package in str(caught.value)
