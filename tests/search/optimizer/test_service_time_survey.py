"""The calls that are timed before load tests, and the service times that are derived from them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.backends.types import Settings, Target
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.service_time_survey import (
    Survey,
    contention,
    timed_as,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


MS = 1e6


def configuration(
    backend: str = "a", *, threads: int = 1, workers: int = 1, batch: int = 1, vcpus: int = 4, delay_us: int = 0
) -> Configuration:
    return Configuration(
        vcpus=vcpus,
        backend=backend,
        settings=Settings(threads=threads),
        workers=workers,
        max_batch=batch,
        batch_delay_us=delay_us,
    )


def service(
    means_ms: dict[int, float], *, workers: int = 1, contention: float = 1.0, spread: Sequence[float] = (1.0,)
) -> ServiceTimes:
    batches = tuple(
        BatchTimes(requests=size, strata_ns=tuple(MS * mean_ms * factor for factor in spread))
        for size, mean_ms in means_ms.items()
    )
    return ServiceTimes(batches=batches, workers=workers, contention=contention)


class Stopwatch:
    """Times a call of n requests with 1 + n / 10 ms, divided by the speed of the backend; more workers take longer."""

    def __init__(self, speeds: dict[str, float], failing: Sequence[Configuration] = ()) -> None:
        self.asked: list[tuple[Configuration, tuple[int, ...]]] = []
        self._speeds, self._failing = speeds, failing

    def __call__(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        self.asked.append((subject, tuple(sizes)))
        if replace(subject, max_batch=1) in self._failing:
            return None
        crowd = 1 + 0.1 * (subject.workers - 1)
        means_ms = {size: crowd * (1 + size / 10) / self._speeds[subject.backend] for size in sizes}
        return service(means_ms, workers=subject.workers)

    def subjects(self, backend: str) -> list[tuple[int, int]]:
        """Workers and threads, in the order in which they were timed."""
        return [
            (configuration.workers, configuration.settings.threads)
            for configuration, _ in self.asked
            if configuration.backend == backend
        ]


SHAPES = ((1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 4))
GRID = [
    configuration(backend, workers=workers, threads=threads, batch=batch, vcpus=4)
    for backend in ("a", "b")
    for workers, threads in SHAPES
    for batch in (1, 2, 4, 8, 16, 32)
]


def carried_out(stopwatch: Stopwatch, grid: Sequence[Configuration] = GRID, *, most: int = 1000) -> Survey:
    survey = Survey.of(grid)
    survey.carry_out(stopwatch, lambda: len(stopwatch.asked) < most, reference="a")
    return survey


def test_of_every_backend_and_number_of_threads_one_worker_is_timed_and_the_most_there_may_be() -> None:
    stopwatch = Stopwatch({"a": 1.0, "b": 1.1})
    carried_out(stopwatch)
    assert sorted(stopwatch.subjects("a")) == [(1, 1), (1, 2), (1, 4), (2, 2), (4, 1)]
    assert sorted(stopwatch.subjects("b")) == sorted(stopwatch.subjects("a"))


def test_plain_workers_are_timed_first_and_the_faster_backend_before_the_slower() -> None:
    stopwatch = Stopwatch({"a": 1.0, "b": 1.1})
    carried_out(stopwatch)
    assert {
        (configuration.backend, configuration.workers, configuration.settings.threads)
        for configuration, _ in stopwatch.asked[:2]
    } == {
        ("a", 1, 1),
        ("b", 1, 1),
    }
    assert [configuration.backend for configuration, _ in stopwatch.asked[2:]] == ["b"] * 4 + ["a"] * 4


def test_the_library_of_the_model_is_timed_behind_the_others_which_may_be_faster() -> None:
    stopwatch = Stopwatch({"a": 1.0, "b": 1.1})
    assert {subject.backend for subject in carried_out(stopwatch, most=1).known} == {"b"}


def test_a_backend_that_is_far_behind_at_every_batch_size_is_not_timed_again() -> None:
    stopwatch = Stopwatch({"a": 1.0, "b": 0.5})
    carried_out(stopwatch)
    assert stopwatch.subjects("b") == [(1, 1)]
    assert len(stopwatch.subjects("a")) == 5


def test_a_backend_that_is_good_at_large_batches_only_is_timed_again_at_those() -> None:
    asked = []

    def time(subject: Configuration, sizes: Sequence[int]) -> ServiceTimes:
        asked.append((subject.backend, tuple(sizes)))
        per_request_ms = 0.1 if subject.backend == "b" else 1.0
        fixed_ms = 10.0 if subject.backend == "b" else 0.1
        return service({size: fixed_ms + per_request_ms * size for size in sizes}, workers=subject.workers)

    Survey.of(GRID).carry_out(time, lambda: True, reference="a")
    assert set(asked[2:]) == {("a", (1, 2, 8, 16)), ("b", (8, 16, 32))}


def test_what_is_less_exact_and_not_quicker_at_any_size_gains_nothing() -> None:
    slower = carried_out(Stopwatch({"a": 1.0, "b": 0.8}))
    ((*which, times_as_long),) = slower.slower({"b"})
    assert which == ["b", Target.CPU, "a"]
    assert times_as_long == pytest.approx(1.25)
    assert list(slower.slower({"a"})) == []
    assert list(slower.slower({"a", "b"})) == [], "nothing is exact that it could be compared with"
    assert list(slower.slower(())) == []


def test_what_is_less_exact_and_quicker_at_one_size_may_gain_something() -> None:
    def time(subject: Configuration, sizes: Sequence[int]) -> ServiceTimes:
        per_request_ms = 0.1 if subject.backend == "b" else 0.4
        fixed_ms = 10.0 if subject.backend == "b" else 1.0
        return service({size: fixed_ms + per_request_ms * size for size in sizes}, workers=subject.workers)

    survey = Survey.of(GRID)
    survey.carry_out(time, lambda: True, reference="a")
    assert list(survey.slower({"b"})) == []
    few = Survey.of([each for each in GRID if each.max_batch <= 16])
    few.carry_out(time, lambda: True, reference="a")
    ((*which, times_as_long),) = few.slower({"b"})
    assert which == ["b", Target.CPU, "a"]
    assert times_as_long == pytest.approx(11.6 / 7.4)


def test_a_processor_that_is_far_faster_does_not_keep_others_from_being_timed() -> None:
    on_gpu = [replace(configuration("b", batch=batch), target=Target.CUDA, gpu=0) for batch in (1, 8)]
    stopwatch = Stopwatch({"a": 1.0, "b": 100.0})
    carried_out(stopwatch, [*GRID[:36], *on_gpu])
    assert len(stopwatch.subjects("a")) == 5


def test_workers_are_started_for_the_largest_batch_and_the_outermost_sizes_are_always_timed() -> None:
    stopwatch = Stopwatch({"a": 1.0, "b": 1.0})
    survey = carried_out(stopwatch)
    assert all(configuration.max_batch == sizes[-1] for configuration, sizes in stopwatch.asked)
    assert {sizes for _, sizes in stopwatch.asked[:2]} == {(1, 2, 4, 8, 16, 32)}
    again = {sizes for _, sizes in stopwatch.asked[2:]}
    assert all(len(sizes) == 4 and sizes[0] == 1 and sizes[-1] == 32 for sizes in again)
    assert all(key.max_batch == 1 and key.batch_delay_us == 0 for key in survey.known)


def test_nothing_more_is_timed_once_the_time_is_over() -> None:
    stopwatch = Stopwatch({"a": 1.0, "b": 1.0})
    survey = carried_out(stopwatch, most=3)
    assert len(stopwatch.asked) == len(survey.known) == 3


def test_what_is_known_is_not_timed_again() -> None:
    first = Stopwatch({"a": 1.0, "b": 1.0})
    known = carried_out(first).known
    again = Stopwatch({"a": 1.0, "b": 1.0})
    survey = Survey.of(GRID)
    survey.known.update(known)
    survey.carry_out(again, lambda: True, reference="a")
    assert again.asked == []


def test_what_cannot_be_timed_is_passed_over_and_tried_once() -> None:
    broken = [timed_as(configuration("b", workers=workers), workers) for workers in (1, 4)]
    stopwatch = Stopwatch({"a": 1.0, "b": 1.0}, failing=broken)
    survey = carried_out(stopwatch)
    assert survey.failed == set(broken)
    assert len(stopwatch.asked) == len({configuration for configuration, _ in stopwatch.asked}) == 10
    assert survey.service_times(configuration("b")) is None
    # Threads are no fewer than those that were timed.
    assert survey.service_times(configuration("b", threads=2)) is not None


def test_a_space_whose_every_timing_fails_leaves_nothing_known() -> None:
    stopwatch = Stopwatch(
        {"a": 1.0, "b": 1.0}, failing=[timed_as(configuration, configuration.workers) for configuration in GRID]
    )
    survey = carried_out(stopwatch)
    assert survey.known == {}
    assert all(survey.service_times(configuration) is None for configuration in GRID)


def test_an_empty_space_has_nothing_to_time() -> None:
    survey = Survey.of([])
    survey.carry_out(Stopwatch({}), lambda: True, reference="a")
    assert (survey.sizes, survey.known) == ((), {})


def test_envelopes_batch_sizes_and_delays_share_what_was_timed() -> None:
    first, second = configuration(vcpus=2, batch=8, delay_us=1000), configuration(vcpus=4)
    assert timed_as(first, 1) == timed_as(second, 1)
    assert timed_as(configuration(workers=4), 4) != timed_as(configuration(workers=4, vcpus=2), 4)


def test_knobs_of_waiting_threads_are_told_apart_only_where_threads_could_wait() -> None:
    def spinning(threads: int, value: bool) -> Configuration:
        settings = Settings(threads=threads, options=(("allow_spinning", value),))
        return replace(configuration(), settings=settings)

    assert timed_as(spinning(1, True), 1) == timed_as(spinning(1, False), 1)
    assert timed_as(spinning(2, True), 1) != timed_as(spinning(2, False), 1)


def test_one_worker_takes_as_long_as_it_was_timed_in_any_envelope() -> None:
    survey = Survey(sizes=(1, 8), known={timed_as(configuration(), 1): service({1: 1.0, 8: 2.0})})
    for vcpus in (1, 4):
        assert survey.service_times(configuration(vcpus=vcpus, batch=8)) == (service({1: 1.0, 8: 2.0}), True)


def test_workers_that_were_timed_together_take_exactly_as_long_as_they_did() -> None:
    alone, together = service({1: 1.0, 8: 2.0}), service({1: 1.3, 8: 2.5}, workers=4)
    survey = known(alone, together, workers=4)
    found, timed = expected(survey, configuration(workers=4))
    assert timed
    for size, mean_ms in ((1, 1.3), (8, 2.5)):
        assert found.mean_ns(size, busy=4) == pytest.approx(mean_ms * MS)


def test_fewer_workers_than_were_timed_get_in_each_others_way_in_proportion() -> None:
    survey = known(service({1: 1.0}), service({1: 1.6}, workers=4), workers=4)
    found, timed = expected(survey, configuration(workers=2))
    assert timed
    assert found.mean_ns(1, busy=1) == pytest.approx(1.0 * MS)
    assert found.mean_ns(1, busy=2) == pytest.approx(1.2 * MS)


def test_of_several_crowds_the_smallest_that_is_no_smaller_is_looked_at() -> None:
    survey = known(service({1: 1.0}), service({1: 1.6}, workers=4), workers=4)
    survey.known[timed_as(configuration(workers=8, vcpus=16), 8)] = service({1: 9.0}, workers=8)
    found, _ = expected(survey, configuration(workers=3, vcpus=16))
    assert found.mean_ns(1, busy=3) == pytest.approx(1.4 * MS)
    found, _ = expected(survey, configuration(workers=16, vcpus=16))
    assert found.mean_ns(1, busy=16) == pytest.approx(9.0 * MS)


def test_workers_none_of_which_were_timed_together_are_a_guess() -> None:
    survey = Survey(sizes=(1,), known={timed_as(configuration(), 1): service({1: 1.0})})
    found, timed = expected(survey, configuration(workers=4))
    assert not timed
    assert found.workers == 4
    assert found.mean_ns(1, busy=4) == pytest.approx(1.0 * MS)


def test_more_threads_than_were_timed_are_guessed_from_the_most_of_fewer() -> None:
    survey = Survey(
        sizes=(1,),
        known={
            timed_as(configuration(threads=1), 1): service({1: 8.0}),
            timed_as(configuration(threads=2), 1): service({1: 5.0}),
        },
    )
    found, timed = expected(survey, configuration(threads=4))
    assert not timed
    assert found.mean_ns(1) == pytest.approx(5.0 * MS / 1.5, rel=0.001)


@pytest.mark.parametrize(("last_ms", "beyond_ms"), [(1.5, 6.0), (0.4, 4.0)])
def test_batches_beyond_those_that_threads_were_timed_at_take_as_many_times_what_one_thread_takes(
    last_ms: float, beyond_ms: float
) -> None:
    """But no less than if all threads were used to the full: two threads, twice as fast."""
    survey = Survey(
        sizes=(1, 2, 8),
        known={
            timed_as(configuration(threads=1), 1): service({1: 1.0, 2: 2.0, 8: 8.0}),
            timed_as(configuration(threads=2), 1): service({1: 1.0, 2: last_ms}),
        },
    )
    for batched in (configuration(threads=2, batch=8), configuration(threads=2, batch=8, delay_us=1000)):
        found, timed = expected(survey, batched)
        assert timed
        assert found.mean_ns(2) == pytest.approx(last_ms * MS)
        assert found.mean_ns(8) == pytest.approx(beyond_ms * MS)


def test_fewer_threads_than_were_timed_are_not_guessed() -> None:
    survey = Survey(sizes=(1,), known={timed_as(configuration(threads=4), 1): service({1: 1.0})})
    assert survey.service_times(configuration(threads=2)) is None


def test_guesses_come_from_the_same_backend_target_variables_and_processor() -> None:
    survey = Survey(sizes=(1,), known={timed_as(configuration(), 1): service({1: 1.0})})
    assert survey.service_times(configuration("b", threads=2)) is None
    assert survey.service_times(replace(configuration(threads=2), environment=(("FLAG", "on"),))) is None
    assert survey.service_times(replace(configuration(threads=2), target=Target.CUDA, gpu=0)) is None


@given(
    alone_ms=st.floats(0.01, 100),
    factor=st.floats(0.5, 8),
    timed=st.integers(2, 16),
    workers=st.integers(1, 16),
    sizes=st.sets(st.integers(1, 64), min_size=1, max_size=5),
)
def test_contention_lies_between_one_worker_alone_and_what_was_timed(
    alone_ms: float, factor: float, timed: int, workers: int, sizes: set[int]
) -> None:
    means_ms = {size: alone_ms * (1 + 0.1 * size) for size in sorted(sizes)}
    crowd = service({size: factor * mean_ms for size, mean_ms in means_ms.items()}, workers=timed)
    assert contention(service(means_ms), crowd) == pytest.approx(factor)
    found, _ = expected(known(service(means_ms), crowd, workers=timed), configuration(workers=workers, vcpus=16))
    for size, mean_ms in means_ms.items():
        slower = found.mean_ns(size, busy=workers) / (mean_ms * MS)
        assert min(1.0, factor) - 1e-9 <= slower <= max(1.0, factor) + 1e-9


def known(alone: ServiceTimes, together: ServiceTimes, *, workers: int) -> Survey:
    """One worker was timed alone, and ``workers`` at once."""
    return Survey(
        sizes=tuple(batch.requests for batch in alone.batches),
        known={
            timed_as(configuration(), 1): alone,
            timed_as(configuration(workers=workers, vcpus=16), workers): together,
        },
    )


def expected(survey: Survey, configuration: Configuration) -> tuple[ServiceTimes, bool]:
    found = survey.service_times(configuration)
    assert found is not None
    return found


AFTER_IDLE = (AfterIdle(idle_ns=0.0, extra_ns=(2_000.0,)), AfterIdle(idle_ns=200_000.0, extra_ns=(30_000.0,)))


def test_several_workers_take_as_much_longer_after_a_pause_as_one() -> None:
    alone = replace(service({1: 1.0}), after_idle=AFTER_IDLE)
    found, _ = expected(known(alone, service({1: 1.5}, workers=2), workers=2), configuration(workers=2, vcpus=16))
    assert found.after_idle == AFTER_IDLE


def test_threads_whose_pauses_were_not_timed_take_as_much_longer_after_one_as_a_single_thread() -> None:
    simple = replace(service({1: 1.0, 8: 2.0}), after_idle=AFTER_IDLE)
    own = (AfterIdle(idle_ns=0.0, extra_ns=(7_000.0,)),)
    for timed, after_idle in ((service({8: 1.0}), AFTER_IDLE), (replace(service({8: 1.0}), after_idle=own), own)):
        survey = Survey(
            sizes=(1, 8),
            known={timed_as(configuration(), 1): simple, timed_as(configuration(threads=2), 1): timed},
        )
        assert expected(survey, configuration(threads=2))[0].after_idle == after_idle
