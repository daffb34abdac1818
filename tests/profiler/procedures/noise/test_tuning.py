"""The tuning of made-up machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servefit.profiler.procedures.noise.tuning import Tuning, read_tuning

if TYPE_CHECKING:
    from pathlib import Path


def write(sys: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = sys / "devices/system/cpu" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")


def test_what_a_machine_does_not_tell_is_none(tmp_path: Path) -> None:
    assert read_tuning({0, 1}, sys=tmp_path) == Tuning(
        governors=(), boost=None, smt=None, shared_siblings=(), thermal_throttles=None
    )


def test_governors_and_throttles_of_the_usable_cpus_are_read(tmp_path: Path) -> None:
    write(tmp_path, {f"cpu{cpu}/cpufreq/scaling_governor": name for cpu, name in enumerate(["b", "a", "b", "other"])})
    write(
        tmp_path, {"cpu1/thermal_throttle/core_throttle_count": "3", "cpu3/thermal_throttle/core_throttle_count": "9"}
    )
    tuning = read_tuning({0, 1, 2}, sys=tmp_path)
    assert tuning.governors == ("a", "b")
    assert tuning.thermal_throttles == 3


@pytest.mark.parametrize(
    ("file", "content", "boost"),
    [
        ("intel_pstate/no_turbo", "0", True),
        ("intel_pstate/no_turbo", "1", False),
        ("cpufreq/boost", "1", True),
        ("cpufreq/boost", "0", False),
        ("cpufreq/boost", "what?", None),
    ],
)
def test_boost_is_told_in_two_ways(tmp_path: Path, file: str, content: str, boost: bool | None) -> None:
    write(tmp_path, {file: content})
    assert read_tuning({0}, sys=tmp_path).boost is boost


def test_siblings_that_others_may_use_are_named(tmp_path: Path) -> None:
    write(tmp_path, {"smt/active": "1"})
    write(tmp_path, {f"cpu{cpu}/topology/thread_siblings_list": f"{cpu % 2},{cpu % 2 + 2}" for cpu in range(4)})
    partly = read_tuning({0, 1, 2}, sys=tmp_path)
    assert partly.smt
    assert partly.shared_siblings == (3,)
    assert read_tuning({0, 2}, sys=tmp_path).shared_siblings == ()
