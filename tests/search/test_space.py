from pathlib import Path

import pytest

from servefit.backends.types import Artifact, Knob, Target
from servefit.profiler.gpu import Gpu
from servefit.profiler.types import Configuration, InstanceProfile
from servefit.search.request import EnvironmentRange
from servefit.search.space import BATCH_SIZES, Choice, Space, starting_points, worker_counts

THREADS = Knob(name="threads", values=(1, 2))
SPINNING = Knob(name="allow_spinning", values=(True, False))


def profile(name: str, vcpus: int, gpus: int = 0, gpu_model: str | None = None) -> InstanceProfile:
    return InstanceProfile(name=name, vcpus=vcpus, memory_bytes=2**30, gpus=gpus, gpu_model=gpu_model)


def gpu(index: int, model: str = "Tesla T4") -> Gpu:
    return Gpu(index=index, model=model, memory_bytes=2**34, driver="550")


def choice(backend: str, vcpus: int, *knobs: Knob, target: Target = Target.CPU) -> Choice:
    artifact = Artifact(backend=backend, backend_version="1", model_digest="d", target=target, folder=Path("/nowhere"))
    return Choice(artifact=artifact, vcpus=vcpus, knobs=knobs)


def shapes(grid: tuple[Configuration, ...]) -> set[tuple[int, int]]:
    return {(one.workers, one.settings.threads) for one in grid}


@pytest.mark.parametrize(
    ("vcpus", "threads", "expected"),
    [(1, 1, [1]), (1, 2, [1]), (6, 1, [1, 2, 4, 6]), (8, 2, [1, 2, 4]), (7, 2, [1, 2, 3])],
)
def test_workers_double_up_to_one_for_every_share_of_the_cpus(vcpus: int, threads: int, expected: list[int]) -> None:
    assert worker_counts(vcpus, threads) == expected


def test_servefits_own_space_never_has_more_threads_than_cpus() -> None:
    space = Space.of([profile("two", 2)], [choice("xgboost", 2, THREADS)], [], [])
    assert shapes(space.grid) == {(1, 1), (2, 1), (1, 2)}
    assert {one.max_batch for one in space.grid} == set(BATCH_SIZES)


def test_the_users_own_ranges_may_ask_for_more_threads_than_cpus() -> None:
    ranges = [EnvironmentRange.parse("OMP_NUM_THREADS=2"), EnvironmentRange.parse("MODEL_SERVER_WORKERS=2,3")]
    space = Space.of([profile("two", 2)], [choice("xgboost", 2, THREADS)], ranges, [])
    assert shapes(space.grid) == {(2, 2), (3, 2)}


def test_any_variable_the_user_names_is_varied() -> None:
    space = Space.of([profile("one", 1)], [choice("sklearn", 1)], [EnvironmentRange.parse("MY_FLAG=on,off")], [])
    assert {one.environment for one in space.grid} == {(("MY_FLAG", "on"),), (("MY_FLAG", "off"),)}


def test_a_range_for_one_profile_leaves_the_others_alone() -> None:
    ranges = [EnvironmentRange(variable="MY_FLAG", values=("on",), profiles=("a",))]
    space = Space.of([profile("a", 1), profile("b", 1)], [choice("sklearn", 1)], ranges, [])
    by_name = {one.name: configurations for one, configurations in space.profiles}
    assert {one.environment for one in by_name["a"]} == {(("MY_FLAG", "on"),)}
    assert {one.environment for one in by_name["b"]} == {()}


def test_profiles_of_one_size_share_their_configurations() -> None:
    one_profile = Space.of([profile("a", 2)], [choice("xgboost", 2, THREADS)], [], [])
    three = Space.of([profile(name, 2) for name in "abc"], [choice("xgboost", 2, THREADS)], [], [])
    assert three.grid == one_profile.grid


def test_a_backends_own_knobs_are_varied_only_where_threads_could_wait() -> None:
    space = Space.of([profile("two", 2)], [choice("onnxruntime", 2, THREADS, SPINNING)], [], [])
    spinning_by_threads = {
        threads: {one.settings.option("allow_spinning", "?") for one in space.grid if one.settings.threads == threads}
        for threads in (1, 2)
    }
    assert spinning_by_threads == {1: {True}, 2: {True, False}}


def test_gpu_artifacts_are_for_profiles_with_a_gpu_and_those_may_also_use_the_cpu() -> None:
    choices = [choice("xgboost", 2), choice("xgboost", 2, target=Target.CUDA)]
    space = Space.of([profile("plain", 2), profile("gpu", 2, gpus=1)], choices, [], [gpu(3)])
    targets = {one.name: {c.target for c in configurations} for one, configurations in space.profiles}
    assert targets == {"plain": {Target.CPU}, "gpu": {Target.CPU, Target.CUDA}}
    assert {(one.target, one.gpu) for one in space.grid} == {(Target.CPU, None), (Target.CUDA, 3)}


def test_profiles_of_one_size_with_different_gpus_share_nothing_on_them() -> None:
    profiles = [profile("old", 2, gpus=1, gpu_model="T4"), profile("new", 2, gpus=1, gpu_model="L4")]
    choices = [choice("xgboost", 2, target=Target.CUDA)]
    space = Space.of(profiles, choices, [], [gpu(0, "NVIDIA L4"), gpu(1, "Tesla T4")])
    numbers = {one.name: {c.gpu for c in configurations} for one, configurations in space.profiles}
    assert numbers == {"old": {1}, "new": {0}}
    assert [one.gpu for one in starting_points(space.grid)] == [1, 0]


def test_every_backend_is_first_tried_plainly_with_a_worker_a_cpu_in_the_largest_envelope() -> None:
    profiles = [profile("one", 1), profile("two", 2)]
    choices = [choice(name, vcpus, THREADS) for vcpus in (1, 2) for name in ("xgboost", "treelite")]
    first = starting_points(Space.of(profiles, choices, [], []).grid)
    assert [(one.vcpus, one.backend, one.workers, one.settings.threads, one.max_batch) for one in first] == [
        (2, "xgboost", 2, 1, 1),
        (2, "treelite", 2, 1, 1),
        (1, "xgboost", 1, 1, 1),
        (1, "treelite", 1, 1, 1),
    ]
