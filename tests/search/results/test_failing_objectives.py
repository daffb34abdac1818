"""Objectives that fail, and packages that offer something else as an objective."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from tests.conformance.trials import trial

from servefit.errors import ObjectiveError, SpecError
from servefit.search.request.goals import parse_goal
from servefit.search.results.objectives.contract import Context, Objective, Prediction
from servefit.search.results.objectives.guarded import explored, figure_of_trial, learnt, predicted_figure
from servefit.search.results.objectives.registry import objective
from servefit.search.results.price import Price

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from servefit.search.results.recommendation import Trial

    Install = Callable[..., None]

CONTEXT = Context(price=Price.of(0.1, 2))
PREDICTION = Prediction(configuration=trial().configuration, capacity_per_s=100.0)


class Odd(Objective):
    """Gives whatever it is told to, or raises it."""

    name: ClassVar[str] = "odd"
    unit: ClassVar[str] = "units"
    aim: ClassVar[str] = "the least oddity"

    def __init__(self, gives: Any) -> None:
        self.gives = gives

    def answer(self) -> Any:
        if isinstance(self.gives, Exception | SystemExit):
            raise self.gives
        return self.gives

    def of_trial(self, trial: Trial, context: Context) -> float | None:
        figure: float | None = self.answer()
        return figure

    def predicted(self, prediction: Prediction, context: Context) -> float | None:
        figure: float | None = self.answer()
        return figure

    def learn(self, trials: Sequence[Trial]) -> object:
        return self.answer()


@pytest.mark.parametrize("gives", [nan, -1.0, "3", True, ZeroDivisionError("division by zero"), SystemExit(0)])
def test_what_cannot_be_ranked_is_an_error_that_names_objective_and_method(gives: Any) -> None:
    odd = Odd(gives)
    for method, call in (
        ("of_trial", lambda: figure_of_trial(odd, trial(), CONTEXT)),
        ("of_trial", lambda: explored(odd, trial(), CONTEXT)),
        ("predicted", lambda: predicted_figure(odd, PREDICTION, CONTEXT)),
    ):
        with pytest.raises(ObjectiveError, match=r"goal 'odd' of .* failed: ") as caught:
            call()
        assert caught.value.goal == "odd"
        assert method in str(caught.value) or "explored" in str(caught.value)
        assert caught.value.remedy


def test_an_objective_that_cannot_learn_is_named_with_what_it_raised() -> None:
    with pytest.raises(ObjectiveError, match=r"learn\(\) raised KeyError: 'watts'"):
        learnt(Odd(KeyError("watts")), [trial()])


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make an installed package that offers an objective called ``name``."""

    def install(package: str, name: str, source: str) -> None:
        folder = tmp_path / package
        described = folder / f"{package}-1.0.dist-info"
        described.mkdir(parents=True)
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (described / "entry_points.txt").write_text(f"[servefit.objectives]\n{name} = {package}_objective:Offered\n")
        (folder / f"{package}_objective.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))

    return install


WHOLE = """
from servefit.search.results.objectives.contract import Objective

class Offered(Objective):
    name, unit, aim, direction = {name!r}, "units", "the fewest units", {direction!r}
    def of_trial(self, trial, context): return 1.0
    def predicted(self, prediction, context): return None
"""


def test_an_objective_of_another_package_is_found_by_its_name(install: Install) -> None:
    install("whole", "units-whole", WHOLE.format(name="units-whole", direction="min"))
    assert parse_goal("units-whole") == "units-whole"
    assert figure_of_trial(objective("units-whole"), trial(), CONTEXT) == 1.0


def test_a_name_that_two_packages_offer_is_refused_with_both(install: Install) -> None:
    for package in ("left", "right"):
        install(package, "units-twice", WHOLE.format(name="units-twice", direction="min"))
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
        ("units-f", WHOLE.format(name="units-f", direction="min").replace('"units"', "None"), "has no unit"),
        (
            "units-g",
            WHOLE.format(name="units-g", direction="min") + "    def __init__(self): 1 / 0\n",
            "cannot be made: ZeroDivisionError",
        ),
        ("units-h", "1 / 0", "cannot be imported from .*: ZeroDivisionError"),
    ],
)
def test_what_is_no_objective_is_refused_with_its_package(
    install: Install, name: str, source: str, problem: str
) -> None:
    package = f"odd{name[-1]}"
    install(package, name, source)
    assert parse_goal(name) == name
    with pytest.raises(SpecError, match=problem) as caught:
        objective(name)
    assert package in str(caught.value)
