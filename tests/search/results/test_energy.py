"""Energy per inference of trials with known figures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from servefit.backends.types import Target
from servefit.profiler.record.types import Configuration
from servefit.search.results.energy import energy_j_per_million, gpu_power_w, power_w

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.search.results.recommendation import Trial

    MakeTrial = Callable[..., Trial]

ON_CPU = Configuration(vcpus=4, backend="forest")
ON_GPU = Configuration(vcpus=4, backend="xgboost", target=Target.CUDA, gpu=0)


def powered(trial: Trial, *, package_w: float | None, gpu_w: float | None = None) -> Trial:
    judged = replace(trial.judged, package_power_w=package_w, gpu_power_w=gpu_w)
    return replace(trial, at_rate=judged)


def test_a_million_inferences_take_the_power_over_the_rate(trial: MakeTrial) -> None:
    drawn = powered(trial(ON_CPU, throughput_per_s=2000), package_w=50.0)
    assert energy_j_per_million(drawn) == pytest.approx(1e6 * 50 / drawn.judged.throughput_per_s)


def test_a_configuration_on_the_gpu_pays_for_gpu_and_packages(trial: MakeTrial) -> None:
    drawn = powered(trial(ON_GPU), package_w=50.0, gpu_w=150.0)
    assert (power_w(drawn), gpu_power_w(drawn)) == (200.0, 150.0)


def test_without_a_counter_of_packages_the_gpu_counts_alone(trial: MakeTrial) -> None:
    assert power_w(powered(trial(ON_GPU), package_w=None, gpu_w=150.0)) == 150.0


def test_what_could_not_be_read_is_none(trial: MakeTrial) -> None:
    assert energy_j_per_million(powered(trial(ON_CPU), package_w=None)) is None
    assert energy_j_per_million(powered(trial(ON_GPU), package_w=50.0, gpu_w=None)) is None


def test_what_answered_nothing_has_no_energy_per_inference(trial: MakeTrial) -> None:
    silent = powered(trial(ON_CPU), package_w=50.0)
    assert energy_j_per_million(replace(silent, at_rate=replace(silent.judged, throughput_per_s=0.0))) is None
