"""Shapes of other packages that fail: each failure is an error with the name of the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from tests.shape_packages import EVENLY, shape_source

from servefit.errors import SpecError
from servefit.profiler.arrivals.constant import ConstantRate
from servefit.profiler.arrivals.mean_rate import check_mean_rate
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.arrivals.schedule import draw_arrivals_ns

if TYPE_CHECKING:
    from servefit.profiler.arrivals.contract import Arrivals

Install = Callable[..., None]


def refusal(caught: pytest.ExceptionInfo[SpecError]) -> str:
    """Return the text of an error that names the field, the package and a remedy on one printable line."""
    text = str(caught.value)
    assert caught.value.field == "arrivals"
    assert "crowds 1.0" in text
    assert caught.value.remedy
    assert text.isprintable()
    return text


def use(shape: Arrivals) -> None:
    """Ask ``shape`` everything that servefit asks of one."""
    str(shape)
    _ = shape.own_rate_per_s, shape.cycle_s, shape.longest_s
    shape.describe()
    draw_arrivals_ns(shape, rate_per_s=100, duration_s=1, seed=0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("cycle_s = property(lambda self: 1 / 0)", "cycle_s raised ZeroDivisionError: division by zero"),
        ("cycle_s = property(lambda self: sys.exit(3))", "cycle_s ended Python"),
        ("cycle_s = '5s'", "cycle_s is '5s', which is not a number"),
        ("cycle_s = math.nan", "cycle_s is nan, which is not finite"),
        ("cycle_s = math.inf", "cycle_s is inf, which is not finite"),
        ("cycle_s = -5.0", "cycle_s is -5.0, which is below zero"),
        ("cycle_s = 1e-12", "cycle_s is 1e-12, which is less than a nanosecond"),
        ("longest_s = math.nan", "longest_s is nan, which is not finite"),
        ("longest_s = -1", "longest_s is -1, which is not above zero"),
        ("longest_s = None", "longest_s is None, which is not a number"),
        ("own_rate_per_s = property(lambda self: {}[5])", "own_rate_per_s raised KeyError: 5"),
        ("own_rate_per_s = math.nan", "own_rate_per_s is nan, which is not finite"),
        ("own_rate_per_s = '5/s'", "own_rate_per_s is '5/s', which is not a number"),
        ("own_rate_per_s = 0", "own_rate_per_s is 0, which is not above zero"),
        ("def __str__(self): raise RuntimeError('one\\n\\x1b[31mtwo')", "__str__ raised RuntimeError: one"),
        ("def __str__(self): return 'poisson'", "__str__ gave 'poisson', which begins with another name"),
    ],
)
def test_what_a_shape_says_of_itself_is_checked_when_it_is_used(more: str, words: str, install: Install) -> None:
    install("crowds", "stampede", shape_source("stampede", more=more))
    with pytest.raises(SpecError) as caught:
        use(arrivals_named("stampede"))
    assert words in refusal(caught)


@pytest.mark.parametrize(
    ("describe", "words"),
    [
        ("def describe(self): raise RuntimeError('mute')", "describe raised RuntimeError: mute"),
        ("def describe(self): return None", "describe gave None, which is not a line of text"),
        ("def describe(self): return ''", "describe gave '', which is not a line of text"),
        ("def describe(self): return 'a\\nb'", "which is not a line of text"),
    ],
)
def test_what_a_shape_says_to_people_is_a_line(describe: str, words: str, install: Install) -> None:
    install("crowds", "stampede", shape_source("stampede", describe=describe))
    with pytest.raises(SpecError) as caught:
        use(arrivals_named("stampede"))
    assert words in refusal(caught)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('boom')", "times_ns raised RuntimeError: boom"),
        ("sys.exit(3)", "times_ns ended Python"),
        ("return self.times_ns(rate_per_s=1, duration_s=1, seed=1)", "times_ns raised RecursionError"),
        ("return np.array([5, 4])", "go backwards"),
    ],
)
def test_times_that_cannot_be_drawn_are_those_of_the_package(body: str, words: str, install: Install) -> None:
    times = f"def times_ns(self, *, rate_per_s, duration_s, seed): {body}"
    install("crowds", "stampede", shape_source("stampede", times=times))
    with pytest.raises(SpecError) as caught:
        use(arrivals_named("stampede"))
    assert words in refusal(caught)


def test_a_shape_refuses_a_run_in_its_own_words(install: Install) -> None:
    error = "SpecError('arrivals', 'stampede', 'are on holiday', remedy='wait')"
    refuses = f"from servefit.errors import SpecError; raise {error}"
    times = f"def times_ns(self, *, rate_per_s, duration_s, seed): {refuses}"
    install("crowds", "stampede", shape_source("stampede", times=times))
    with pytest.raises(SpecError) as caught:
        use(arrivals_named("stampede"))
    assert refusal(caught) == "arrivals: 'stampede' of crowds 1.0 are on holiday; wait"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("def __init__(self): raise ValueError('no seats')", "cannot be made: it raised ValueError: no seats"),
        ("def __init__(self): sys.exit()", "cannot be made: it ended Python"),
        ("def __post_init__(self): raise KeyError('seat')", "cannot be made: it raised KeyError: 'seat'"),
    ],
)
def test_a_class_that_cannot_be_made_is_refused(more: str, words: str, install: Install) -> None:
    install("crowds", "stampede", shape_source("stampede", more=more))
    with pytest.raises(SpecError) as caught:
        arrivals_named("stampede")
    assert words in refusal(caught)


@pytest.mark.parametrize(
    ("line", "words"), [("", "a class without a name"), ("name = 5", "a class that calls itself 5")]
)
def test_a_class_without_its_name_is_refused(line: str, words: str, install: Install) -> None:
    install("crowds", "stampede", shape_source("stampede").replace('name = "stampede"', line))
    with pytest.raises(SpecError) as caught:
        arrivals_named("stampede")
    assert words in refusal(caught)


def test_ctrl_c_is_no_error_of_the_shape(install: Install) -> None:
    install(
        "crowds",
        "stampede",
        shape_source("stampede", more="cycle_s = property(lambda self: exec('raise KeyboardInterrupt'))"),
    )
    with pytest.raises(KeyboardInterrupt):
        _ = arrivals_named("stampede").cycle_s


def test_a_shape_of_servefit_is_what_it_is() -> None:
    assert type(arrivals_named("constant")) is ConstantRate


def test_shapes_of_packages_are_equal_where_their_parameters_are(install: Install) -> None:
    install("crowds", "stampede")
    assert arrivals_named("stampede") == arrivals_named(" stampede")
    assert hash(arrivals_named("stampede")) == hash(arrivals_named(" stampede"))


TENTH = EVENLY.replace(".astype(np.int64)", ".astype(np.int64)[::10]")
FOUR_FIFTHS = EVENLY.replace("int(rate_per_s", "int(0.8 * rate_per_s")
BURSTY = (
    "def times_ns(self, *, rate_per_s, duration_s, seed): "
    "random = np.random.default_rng(seed); factor = random.exponential(); "
    "return np.sort(random.integers(0, int(duration_s * 1e9), random.poisson(factor * rate_per_s * duration_s)))"
)


@pytest.mark.parametrize(("times", "share"), [(TENTH, "10 %"), (FOUR_FIFTHS, "80 %")])
def test_a_shape_that_does_not_keep_to_the_rate_is_refused(times: str, share: str, install: Install) -> None:
    install("crowds", "stampede", shape_source("stampede", times=times))
    with pytest.raises(SpecError) as caught:
        check_mean_rate(arrivals_named("stampede"), rate_per_s=200)
    assert f"come at {share} of the rate that is asked" in refusal(caught)


@pytest.mark.parametrize("rate_per_s", [0.01, 3.0, 200.0, 1e6])
@pytest.mark.parametrize("times", [EVENLY, BURSTY])
def test_a_shape_that_keeps_to_the_rate_or_whose_rate_is_random_is_taken(
    times: str, rate_per_s: float, install: Install
) -> None:
    install("crowds", "stampede", shape_source("stampede", times=times, more="cycle_s = 0.7"))
    check_mean_rate(arrivals_named("stampede"), rate_per_s=rate_per_s)
