"""The warnings of a job, and the speed-ups of its backends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servefit.backends.model import Format, Model, Signature, Task
from servefit.backends.types import Settings, Target
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.jobs.notes import job_warnings, with_speedups
from servefit.search.request.job_request import JobRequest
from servefit.search.request.space import Space
from servefit.search.results.ranking import recommendation
from servefit.search.results.recommendation import CompilationReport
from servefit.search.storage.header import JobHeader, PayloadFacts

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.results.recommendation import Basis, Trial


def configuration(
    backend: str, *, vcpus: int = 2, workers: int = 1, threads: int = 1, max_batch: int = 1
) -> Configuration:
    return Configuration(
        vcpus=vcpus, backend=backend, workers=workers, max_batch=max_batch, settings=Settings(threads=threads)
    )


def quick_report(trials: list[Trial], speedups: tuple[tuple[str, Target, float], ...] = ()) -> CompilationReport:
    """What is said of the backend "quick"."""
    reports = [
        CompilationReport(backend=name, target=Target.CPU, status="COMPLETED", seconds=1.0)
        for name in ("reference", "quick")
    ]
    reference, quick = with_speedups(reports, speedups, "reference", trials)
    assert (reference.speedup, reference.reason) == (None, None)
    return quick


def header_of(request: JobRequest) -> JobHeader:
    return JobHeader(
        request=request,
        model=Model(
            source="model.ubj",
            file=Path("model.ubj"),
            format=Format.XGBOOST_UBJSON,
            digest="",
            size_bytes=1,
            signature=Signature(task=Task.BINARY, features=1, outputs=1),
        ),
        payload=PayloadFacts(
            source="rows.csv", rows=1, digest="", synthetic=False, truncated_from=None, unused_columns=("id", "label")
        ),
        host=describe_host(),
        profiles=(),
        servefit="1",
        created_at=0.0,
    )


def test_columns_that_are_left_out_are_named() -> None:
    (warning,) = job_warnings(header_of(JobRequest(name="job")), (), (), (), Space(profiles=(), grid=()))
    assert warning == "rows.csv has 2 columns that the model does not have, left out of every request: id, label"


def test_a_job_by_a_figure_that_no_test_shows_says_that_nothing_was_chosen_by_it(trial: MakeTrial) -> None:
    space = Space(profiles=(), grid=())
    first = recommendation(InstanceProfile(name="box", vcpus=2, memory_bytes=2**30), trial(configuration("quick")))
    for goal, said in (("energy", True), ("cost", False)):
        warnings = job_warnings(header_of(JobRequest(name="job", goal=goal)), (), (), [first], space)
        assert any("no test shows the least energy per inference" in warning for warning in warnings) == said


@pytest.mark.parametrize(("basis", "told"), [("predicted", True), ("measured", False)])
def test_endpoints_whose_figures_were_predicted_are_named(trial: MakeTrial, basis: Basis, told: bool) -> None:
    box = InstanceProfile(name="box", vcpus=2, memory_bytes=2**30)
    first = recommendation(box, replace(trial(configuration("quick")), driver="http", basis=basis))
    header = header_of(JobRequest(name="job", deploy="endpoint"))
    warnings = job_warnings(header, [first.trial], (), [first], Space(profiles=(), grid=()))
    assert any("the endpoint's figures on box are predicted" in warning for warning in warnings) == told
    assert not any("over HTTP" in warning for warning in warnings), "that is what was asked about"


def test_requests_that_an_endpoint_did_not_answer_are_counted_over_all_tests(trial: MakeTrial) -> None:
    tested = trial(configuration("quick"))
    assert tested.at_rate is not None
    failing = replace(
        tested,
        capacity=replace(tested.capacity, errors={"timed out": 2, "status 503": 1}),
        at_rate=replace(tested.at_rate, errors={"status 503": 7}),
    )
    header, space = header_of(JobRequest(name="job", deploy="endpoint")), Space(profiles=(), grid=())
    warnings = job_warnings(header, [failing, failing, tested], (), [], space)
    assert "16 requests failed over HTTP: status 503" in warnings
    assert "4 requests failed over HTTP: timed out" in warnings


def test_time_that_others_had_is_told_though_the_tests_are_good(trial: MakeTrial) -> None:
    tested = trial(configuration("quick"))
    shortened = replace(tested, capacity=replace(tested.capacity, left_out_s=0.75))
    warnings = job_warnings(
        header_of(JobRequest(name="job")), [tested, shortened, shortened], (), [], Space(profiles=(), grid=())
    )
    assert "others used the CPUs for 1.5 s in 2 of 3 tests: what was measured meanwhile was left out" in warnings


def test_calls_timed_alone_say_how_much_faster_a_backend_is_whatever_was_measured_later(trial: MakeTrial) -> None:
    trials = [trial(configuration("reference")), trial(configuration("quick"))]
    found = quick_report(trials, (("quick", Target.CPU, 3.0),))
    assert (found.speedup, found.reason) == (3.0, None)


def test_without_them_trials_of_one_plain_worker_in_the_largest_envelope_of_both_say_it(trial: MakeTrial) -> None:
    trials = [
        trial(configuration(backend, vcpus=vcpus), throughput_per_s=per_s)
        for backend, vcpus, per_s in (
            ("reference", 1, 100.0),
            ("reference", 2, 100.0),
            ("quick", 1, 150.0),
            ("quick", 2, 200.0),
            ("quick", 4, 900.0),
        )
    ]
    assert quick_report(trials).speedup == pytest.approx(2.0)


def test_a_backend_that_trials_show_to_be_slower_did_not_pay(trial: MakeTrial) -> None:
    trials = [
        trial(configuration("reference"), throughput_per_s=100.0),
        trial(configuration("quick"), throughput_per_s=50.0),
    ]
    found = quick_report(trials)
    assert found.speedup == pytest.approx(0.5)
    assert found.reason == "not faster than reference at one request a call"


@pytest.mark.parametrize(
    "quick",
    [
        configuration("quick", vcpus=4),
        configuration("quick", workers=2),
        configuration("quick", threads=2),
        configuration("quick", max_batch=2),
    ],
)
def test_trials_in_another_shape_say_nothing(trial: MakeTrial, quick: Configuration) -> None:
    found = quick_report([trial(configuration("reference")), trial(quick)])
    assert (found.speedup, found.reason) == (None, "not timed in the same setting as reference")


def test_invalid_trials_say_nothing(trial: MakeTrial) -> None:
    found = quick_report([trial(configuration("reference")), trial(configuration("quick"), verdict="INVALID")])
    assert found.speedup is None
