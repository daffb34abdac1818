"""The goal "energy" on made-up machines: where it can be measured, and what it expects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.conformance.trials import trial

from servefit.errors import SpecError
from servefit.profiler.machine.gpu import Gpu
from servefit.profiler.machine.host import describe_host
from servefit.profiler.record.types import Configuration
from servefit.search.results.objectives import energy
from servefit.search.results.objectives.contract import Context, Prediction
from servefit.search.results.objectives.energy import Energy, PowerModel
from servefit.search.results.price import Price

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.profiler.machine.host import Host

CONTEXT = Context(price=Price.of(0.1, 2), rate_per_s=None, cost_weight=0.5)
NO_GPU = "the NVIDIA driver is not installed"


@pytest.fixture
def host() -> Host:
    return replace(describe_host(), gpus=(), no_gpu_reason=NO_GPU)


def with_counters(sys: Path, *, readable: bool = True) -> Path:
    """A machine of one processor package; what cannot be read is a folder here, since root reads every file."""
    package = sys / "class/powercap/intel-rapl:0"
    package.mkdir(parents=True)
    (package / "max_energy_range_uj").write_text("999999\n")
    if readable:
        (package / "energy_uj").write_text("5\n")
    else:
        (package / "energy_uj").mkdir()
    return sys


def test_where_the_packages_tell_what_they_draw_nothing_is_in_the_way(tmp_path: Path, host: Host) -> None:
    Energy(sys=with_counters(tmp_path)).check(host)


def test_where_nothing_tells_what_it_draws_energy_is_refused_with_the_reason(tmp_path: Path, host: Host) -> None:
    with pytest.raises(SpecError, match=rf"no energy counters of the processors \(RAPL\), .*{NO_GPU}") as caught:
        Energy(sys=tmp_path).check(host)
    assert (caught.value.field, caught.value.value) == ("goal", "energy")
    assert "bare metal" in str(caught.value.remedy)


def test_counters_that_are_for_root_alone_come_with_the_command_that_opens_them(tmp_path: Path, host: Host) -> None:
    with pytest.raises(SpecError, match="for root alone") as caught:
        Energy(sys=with_counters(tmp_path, readable=False)).check(host)
    assert caught.value.remedy == f"sudo chmod a+r {tmp_path}/class/powercap/intel-rapl:*/energy_uj"


@pytest.mark.parametrize("reports", [True, False])
def test_a_gpu_that_reports_its_power_is_enough(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch, reports: bool
) -> None:
    monkeypatch.setattr(energy, "reports_power", lambda _: reports)
    gpu = Gpu(index=0, model="G", memory_bytes=2**30, driver="1")
    equipped = replace(host, gpus=(gpu,), no_gpu_reason=None)
    if reports:
        Energy(sys=tmp_path).check(equipped)
    else:
        with pytest.raises(SpecError, match="no GPU here reports its power"):
            Energy(sys=tmp_path).check(equipped)


def test_power_is_learnt_as_a_line_from_idle_to_busy() -> None:
    seen = [trial(cpu_percent=100.0 * busy, package_power_w=30.0 + 10 * busy) for busy in (1, 2, 4)]
    learnt = Energy().learn([*seen, trial(package_power_w=None)])
    assert learnt.idle_w == pytest.approx(30)
    assert learnt.per_busy_cpu_w == pytest.approx(10)
    assert learnt.gpu_w is None


def test_from_one_trial_nobody_knows_what_a_busy_cpu_takes() -> None:
    assert Energy().learn([trial(package_power_w=40.0)]) == PowerModel(idle_w=40.0, per_busy_cpu_w=0.0, gpu_w=None)


def test_power_is_never_expected_to_fall_below_nothing() -> None:
    falling = [trial(cpu_percent=100.0 * busy, package_power_w=50.0 - 10 * busy) for busy in (1, 2)]
    steep = [trial(cpu_percent=100.0 * busy, package_power_w=40.0 * busy - 30) for busy in (1, 2)]
    assert Energy().learn(falling) == PowerModel(idle_w=35.0, per_busy_cpu_w=0.0, gpu_w=None)
    assert Energy().learn(steep).idle_w == 0.0


def expected(configuration: Configuration, learnt: PowerModel, rate_per_s: float | None = None) -> float | None:
    prediction = Prediction(configuration=configuration, capacity_per_s=1000.0)
    return Energy().predicted(prediction, replace(CONTEXT, learnt=learnt, rate_per_s=rate_per_s))


def test_at_full_load_all_threads_are_busy_and_at_a_rate_as_long_as_it_takes() -> None:
    learnt = PowerModel(idle_w=30.0, per_busy_cpu_w=10.0, gpu_w=None)
    two = Configuration(vcpus=4, backend="forest", workers=2)
    assert expected(two, learnt) == pytest.approx(1e6 * 50 / 1000)
    assert expected(two, learnt, rate_per_s=500.0) == pytest.approx(1e6 * 40 / 500)


def test_what_runs_on_the_gpu_draws_there_too_and_nobody_tells_before_it_was_tried() -> None:
    on_gpu = Configuration(vcpus=4, backend="xgboost", gpu=0)
    packages = PowerModel(idle_w=30.0, per_busy_cpu_w=10.0, gpu_w=None)
    assert expected(on_gpu, packages) is None
    assert expected(on_gpu, replace(packages, gpu_w=160.0)) == pytest.approx(1e6 * 200 / 1000)
    assert (
        expected(Configuration(vcpus=4, backend="forest"), PowerModel(idle_w=None, per_busy_cpu_w=0, gpu_w=9)) is None
    )


def test_before_any_trial_nothing_is_expected() -> None:
    assert expected(Configuration(vcpus=4, backend="forest"), Energy().learn([])) is None


def test_the_rate_of_the_trial_is_what_energy_is_of() -> None:
    tested = trial(capacity_per_s=1000.0, at_rate_per_s=100.0, package_power_w=50.0)
    assert Energy().of_trial(tested, CONTEXT) == pytest.approx(1e6 * 50 / 100)
    assert Energy().of_trial(trial(package_power_w=None), CONTEXT) is None
