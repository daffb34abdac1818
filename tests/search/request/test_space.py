from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.backends.types import Artifact, Knob, Target
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.gpu import Gpu
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import EnvironmentRange, JobRequest
from servefit.search.request.sla import Sla
from servefit.search.request.space import (
    BATCH_DELAYS_US,
    BATCH_SIZES,
    BatchingSpace,
    Choice,
    Space,
    admits,
    starting_points,
    worker_counts,
)

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
    assert {one.batch_delay_us for one in space.grid} == set(BATCH_DELAYS_US)


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


def test_what_the_users_ranges_leave_out_is_replaced_by_what_is_plainest() -> None:
    ranges = [EnvironmentRange.parse("OMP_NUM_THREADS=2"), EnvironmentRange.parse("MODEL_SERVER_WORKERS=1,2")]
    space = Space.of([profile("four", 4)], [choice("xgboost", 4, THREADS)], ranges, [], BatchingSpace(sizes=(16, 8)))
    (first,) = starting_points(space.grid)
    assert (first.settings.threads, first.workers, first.max_batch, first.batch_delay_us) == (2, 2, 8, 0)
    assert starting_points([]) == []


def test_requests_that_are_not_joined_wait_for_nobody() -> None:
    pairs = list(BatchingSpace(sizes=(1, 8), delays_us=(0, 1000)).pairs())
    assert pairs == [(1, 0), (8, 0), (8, 1000)]
    assert list(BatchingSpace(sizes=(1,), delays_us=(1000,)).pairs()) == [(1, 0)]


@pytest.mark.parametrize(("limit_ms", "delays_us"), [(0.5, (0,)), (1.9, (0,)), (2.0, (0, 1000)), (100.0, (0, 1000))])
def test_a_delay_that_would_use_up_the_tightest_limit_is_not_tried(limit_ms: float, delays_us: tuple[int, ...]) -> None:
    thresholds = tuple(
        LatencyThreshold(percentile=name, limit_ms=one) for name, one in (("p50", limit_ms), ("p99", 1000.0))
    )
    assert (
        BatchingSpace.of(JobRequest(name="job", sla=Sla(thresholds=thresholds)), batch_dependent=False).delays_us
        == delays_us
    )


def test_batch_sizes_and_delays_that_were_asked_for_are_the_ones_that_are_tried() -> None:
    sla = Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=1.0),))
    request = JobRequest(name="job", sla=sla, batch_sizes=(3, 5), batch_delays_us=(5000,))
    asked = BatchingSpace.of(request, batch_dependent=False)
    assert asked == BatchingSpace(sizes=(3, 5), delays_us=(5000,))
    space = Space.of([profile("one", 1)], [choice("sklearn", 1)], [], [], asked)
    assert {(one.max_batch, one.batch_delay_us) for one in space.grid} == {(3, 5000), (5, 5000)}
    assert BatchingSpace.of(JobRequest(name="job"), batch_dependent=False) == BatchingSpace()


def test_a_profile_larger_than_any_artifact_was_made_for_has_no_configurations() -> None:
    space = Space.of([profile("eight", 8)], [choice("xgboost", 2)], [], [])
    assert (space.grid, space.profiles[0][1]) == ((), frozenset())


def test_a_configuration_is_measured_with_the_memory_of_the_largest_profile_that_may_have_it() -> None:
    small = profile("small", 1)
    large = InstanceProfile(name="large", vcpus=1, memory_bytes=2**34)
    space = Space.of([small, large], [choice("sklearn", 1)], [], [])
    assert space.memory_bytes(space.grid[0]) == 2**34
    assert space.memory_bytes(Configuration(vcpus=1, backend="unheard of")) is None


@st.composite
def ranges_for_profiles(draw: st.DrawFn) -> list[EnvironmentRange]:
    """Ranges that name other profiles each, so that none is given twice."""
    variables = {"MODEL_SERVER_WORKERS": ("1", "3", "4"), "OMP_NUM_THREADS": ("1", "2"), "FLAG": ("on", "off")}
    found = []
    for variable, values in variables.items():
        for name in draw(st.sets(st.sampled_from(["a", "b", "gpu", "small"]))):
            chosen = draw(st.lists(st.sampled_from(values), min_size=1, unique=True))
            found.append(EnvironmentRange(variable=variable, values=tuple(chosen), profiles=(name,)))
    return found


@given(ranges_for_profiles())
def test_which_profiles_may_have_a_configuration_can_be_told_without_the_artifacts(
    ranges: list[EnvironmentRange],
) -> None:
    profiles = [profile("a", 4), profile("b", 4), profile("gpu", 4, gpus=1), profile("small", 1)]
    choices = [
        choice("xgboost", 4, THREADS, SPINNING),
        choice("xgboost", 1, Knob(name="threads", values=(1,))),
        choice("xgboost", 4, THREADS, target=Target.CUDA),
    ]
    gpus = [gpu(0)]
    space = Space.of(profiles, choices, ranges, gpus, BatchingSpace(sizes=(1, 8), delays_us=(0,)))
    for one, fitting in space.profiles:
        admitted = {each for each in space.grid if admits(one, each, ranges, gpus)}
        assert admitted == fitting


def test_requests_that_change_each_others_predictions_are_joined_only_where_that_is_allowed() -> None:
    request = JobRequest(name="job")
    assert BatchingSpace.of(request, batch_dependent=True).sizes == (1,)
    assert list(BatchingSpace.of(request, batch_dependent=True).pairs()) == [(1, 0)]
    allowed = replace(request, allow_batch_dependence=True)
    assert BatchingSpace.of(allowed, batch_dependent=True) == BatchingSpace()
