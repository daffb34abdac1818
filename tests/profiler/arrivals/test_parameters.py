"""How parameters are typed, and read back."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

from servefit.errors import SpecError
from servefit.profiler.arrivals.bursts import Bursts
from servefit.profiler.arrivals.ramp import Ramp
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.arrivals.replay import Replay
from servefit.profiler.arrivals.sine import Sine
from servefit.profiler.arrivals.steps import Steps

if TYPE_CHECKING:
    from servefit.profiler.arrivals.contract import Arrivals

positive = st.floats(min_value=1e-9, max_value=1e9)
rates = st.floats(min_value=0, max_value=1e9).map(lambda value: value if value > 1e-9 else 0.0)
letters = st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="=,")
names = st.text(letters, min_size=1, max_size=20).filter(lambda name: name == name.strip())
several = st.lists(positive, min_size=1, max_size=9).map(tuple)


@st.composite
def shapes(draw: st.DrawFn) -> Arrivals:
    return draw(
        st.one_of(
            st.builds(Sine, amplitude=st.floats(0, 1), period_s=positive),
            st.builds(Ramp, from_per_s=rates, to_per_s=positive, over_s=st.none() | positive),
            st.builds(Steps, rates_per_s=several, each_s=st.none() | positive),
            st.builds(Bursts, factor=positive, burst_s=positive, quiet_s=positive),
            st.builds(
                Replay,
                file=names.map(lambda name: f"/{name}"),
                speed=positive,
                loop=st.booleans(),
                column=st.none() | names,
            ),
        )
    )


@example(shape=Replay(file="/0/"))
@given(shapes())
def test_whatever_a_shape_is_its_text_reads_back_as_the_same(shape: Arrivals) -> None:
    assert arrivals_named(str(shape)) == shape


@pytest.mark.integration
@settings(max_examples=examples(30, drawn=100))
@given(st.text(max_size=60))
def test_any_text_is_a_shape_or_refused(text: str) -> None:
    for asked in (text, f"sine:{text}", f"steps:{text}", f"replay:{text}"):
        with suppress(SpecError):
            arrivals_named(asked)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "arrivals: '' is not known"),
        ("sin", "did you mean 'sine'"),
        ("poisson:rate=5/s", "has parameters, and poisson takes none"),
        ("sine:0.5", "holds '0.5', which does not look like amplitude=..."),
        ("sine:amplitude", "holds 'amplitude'"),
        ("sine:perod=1s", "arrivals.sine: 'perod' is not known; did you mean 'period'"),
        ("sine:period=10", "arrivals.period: '10' has no unit; say 10ms, 10s or 10m"),
        ("sine:period=-1s", "arrivals.period: '-1s' is not above zero"),
        ("sine:period=1s,period=2s", "gives period twice"),
        ("sine:amplitude=150%", "arrivals.amplitude: 1.5 is not a share, 0 to 1"),
        ("ramp:from=1/s", "lacks to; say ramp:to=..."),
        ("steps", "arrivals: 'steps' lacks rates"),
        ("steps:rates=1/s+often", "arrivals.rates: 'often' is not a rate such as"),
        ("bursts:factor=x", "arrivals.factor: 'x' is not a number"),
        ("bursts:factor=NaN", "arrivals.factor: nan is not a number above zero"),
        ("replay", "arrivals: 'replay' lacks file; say replay:FILE"),
        ("replay:x,loop=perhaps", "arrivals.loop: 'perhaps' is neither yes nor no"),
        ("replay:,speed=2", "arrivals.file: '' is empty"),
    ],
)
def test_what_makes_no_sense_is_said_with_what_would(text: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        arrivals_named(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", [None, 5, ["sine"]])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(SpecError, match="is no text such as poisson"):
        arrivals_named(text)
