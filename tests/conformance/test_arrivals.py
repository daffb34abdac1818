"""The contract of a traffic shape, tested on all built-in shapes.

A package with a shape of its own subclasses :class:`ArrivalsContract`: docs/adding-arrivals.md shows how.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.arrivals.contract import Arrivals
from servefit.profiler.arrivals.mean_rate import check_mean_rate
from servefit.profiler.arrivals.registry import BUILT_IN, arrivals_named, shape_names
from servefit.profiler.arrivals.schedule import draw_arrivals_ns
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import OpenLoop
from servefit.search.simulation.prediction import predict

TRACE = Path(__file__).parent / "trace.csv"
SEEDS = range(40)
CYCLES = 4
RATE_PER_S = 200.0


class ArrivalsContract:
    """``texts`` are what a person types, the first without optional parameters, others with all kinds of them."""

    texts: ClassVar[tuple[str, ...]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "shape" in metafunc.fixturenames:
            metafunc.parametrize("shape", self.texts, indirect=True)

    @pytest.fixture
    def shape(self, request: pytest.FixtureRequest) -> Arrivals:
        return arrivals_named(request.param)

    def test_the_shape_is_found_by_its_name(self) -> None:
        shape = arrivals_named(self.texts[0])
        assert isinstance(shape, Arrivals)
        assert shape.name in shape_names()
        assert self.texts[0].partition(":")[0] == shape.name

    def test_its_text_reads_back_as_the_same_shape(self, shape: Arrivals) -> None:
        again = arrivals_named(str(shape))
        assert again == shape
        assert hash(again) == hash(shape)
        assert str(again) == str(shape)

    def test_the_shape_is_immutable(self, shape: Arrivals) -> None:
        for field in fields(shape):
            with pytest.raises(FrozenInstanceError):
                setattr(shape, field.name, None)

    def test_a_parameter_that_it_does_not_have_is_refused(self) -> None:
        text = self.texts[0]
        with pytest.raises(SpecError, match=r"^arrivals"):
            arrivals_named(f"{text}{',' if ':' in text else ':'}no_such_parameter=1")

    def test_the_shape_describes_its_arrivals_in_a_line(self, shape: Arrivals) -> None:
        words = shape.describe()
        assert words.strip() == words
        assert words
        assert words.isprintable()
        assert not words.endswith(".")

    def test_what_it_says_of_itself_is_possible(self, shape: Arrivals) -> None:
        assert shape.cycle_s == 0 or 1e-9 <= shape.cycle_s < np.inf
        assert shape.longest_s > 0
        assert shape.own_rate_per_s is None or 0 < shape.own_rate_per_s < np.inf

    def test_its_text_as_it_is_typed_reads_back_as_the_same_shape(self, shape: Arrivals, tmp_path: Path) -> None:
        assert arrivals_named(shape.typed()) == shape
        assert arrivals_named(shape.typed(folder=tmp_path), folder=tmp_path) == shape
        assert len(shape.typed()) <= len(str(shape))

    @pytest.mark.parametrize("rate_per_s", [1.0, 200.0, 20_000.0])
    def test_it_keeps_to_the_rate_as_far_as_is_checked_before_a_measurement(
        self, shape: Arrivals, rate_per_s: float
    ) -> None:
        check_mean_rate(shape, rate_per_s=rate_per_s)

    @pytest.mark.parametrize("rate_per_s", [0.5, 30.0, 5000.0])
    @pytest.mark.parametrize("duration_s", [0.01, 0.7, 3.3])
    def test_arrivals_are_whole_nanoseconds_in_order_within_any_run(
        self, shape: Arrivals, rate_per_s: float, duration_s: float
    ) -> None:
        times_ns = draw_arrivals_ns(shape, rate_per_s=rate_per_s, duration_s=duration_s, seed=0)
        assert times_ns.dtype == np.int64
        assert (np.diff(times_ns) >= 0).all()
        assert ((times_ns >= 0) & (times_ns < duration_s * 1e9)).all()

    def test_the_same_seed_gives_the_same_arrivals_whatever_else_was_drawn(self, shape: Arrivals) -> None:
        first = draw_arrivals_ns(shape, rate_per_s=RATE_PER_S, duration_s=1.0, seed=3)
        draw_arrivals_ns(shape, rate_per_s=RATE_PER_S, duration_s=1.0, seed=4)
        np.testing.assert_array_equal(first, draw_arrivals_ns(shape, rate_per_s=RATE_PER_S, duration_s=1.0, seed=3))

    def test_the_random_numbers_of_others_are_left_alone(self, shape: Arrivals) -> None:
        np.random.seed(1)  # noqa: NPY002
        expected = np.random.random(5)  # noqa: NPY002
        np.random.seed(1)  # noqa: NPY002
        draw_arrivals_ns(shape, rate_per_s=RATE_PER_S, duration_s=1.0, seed=0)
        np.testing.assert_array_equal(np.random.random(5), expected)  # noqa: NPY002

    @pytest.mark.parametrize("times", [1.0, 3.0])
    def test_over_whole_cycles_the_mean_rate_is_what_was_asked_for(self, shape: Arrivals, times: float) -> None:
        duration_s = CYCLES * (shape.cycle_s or 1.0)
        rate_per_s = times * RATE_PER_S
        drawn = [
            len(draw_arrivals_ns(shape, rate_per_s=rate_per_s, duration_s=duration_s, seed=seed)) for seed in SEEDS
        ]
        assert np.mean(drawn) / duration_s == pytest.approx(rate_per_s, rel=0.05)

    def test_the_simulation_takes_it(self, shape: Arrivals) -> None:
        service = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(1e6,)),), workers=1)
        found = predict(service, Discipline(), rate_per_s=100, percentiles=(50.0,), arrivals=str(shape))
        assert not found.saturated
        assert found.latency_ms["p50"] == pytest.approx(1.0, rel=0.5)

    def test_a_run_carries_its_text_and_draws_from_it(self, shape: Arrivals) -> None:
        loop = OpenLoop(rate_per_s=RATE_PER_S, duration_s=2.0, arrivals=str(shape), seed=5)
        np.testing.assert_array_equal(
            loop.arrivals_ns(), draw_arrivals_ns(shape, rate_per_s=RATE_PER_S, duration_s=2.0, seed=5)
        )


class TestPoisson(ArrivalsContract):
    texts = ("poisson",)


class TestConstant(ArrivalsContract):
    texts = ("constant",)


class TestSteps(ArrivalsContract):
    texts = ("steps:rates=100/s+300/s", "steps:rates=600/min+0+1/s,each=500ms", "steps:rates=5/s,each=1s")


class TestRamp(ArrivalsContract):
    texts = ("ramp:from=0,to=500/s", "ramp:from=300/min,to=1/s,over=2s")


class TestSine(ArrivalsContract):
    texts = ("sine", "sine:amplitude=100%,period=300ms", "sine:amplitude=0")


class TestBursts(ArrivalsContract):
    texts = ("bursts", "bursts:factor=20,burst=5ms,quiet=50ms", "bursts:factor=0.5")


class TestReplay(ArrivalsContract):
    texts = (f"replay:{TRACE}", f"replay:{TRACE},speed=3", f"replay:{TRACE},speed=0.5,loop=yes,column=time")


def test_every_shape_of_servefit_keeps_the_contract() -> None:
    tried = {suite.__name__.removeprefix("Test").lower() for suite in ArrivalsContract.__subclasses__()}
    assert tried >= set(BUILT_IN)
