"""One test of one configuration, by workers whose calls take a known time: simulated ones, and real ones where the
machine is the subject."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.report.simulated import SimulatedDriver
from tests.report.story import configuration, simulated_host

from servefit.backends.types import Artifact, Target
from servefit.errors import OutOfMemory
from servefit.profiler.drivers.inprocess.workers import start_workers
from servefit.profiler.evidence.verdict import widening
from servefit.profiler.machine.envelope.opening import available_methods
from servefit.profiler.machine.host import describe_host
from servefit.profiler.record.traffic import ClosedLoop
from servefit.profiler.record.types import Configuration, Measurement
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.measure_trial import CONFIRMING, SCREENING, Durations, run_test
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Hog

    from servefit.search.results.recommendation import Trial

LONGER = Durations(capacity_s=0.4, at_rate_s=8.0, at_rate_max_s=8.0)

PREDICTORS = Path(__file__).parents[2] / "profiler"


def simulated_trial_of(
    sla: Sla,
    *,
    us: float,
    keep: Callable[[Measurement], str | None] | None = None,
    durations: Durations = SCREENING,
) -> Trial:
    """A test on a worker that exists in arithmetic alone."""
    driver = SimulatedDriver(configuration=configuration("forest"), service_us=us)
    return run_test(driver, JobRequest(name="j", sla=sla), simulated_host(), durations, seed=1, keep=keep)


def trial_of(
    sla: Sla,
    *,
    memory_bytes: int | None = None,
    allow_noise: bool = True,
    keep: Callable[[Measurement], str | None] | None = None,
    durations: Durations = SCREENING,
    **facts: Any,
) -> Trial:
    configuration = Configuration(vcpus=1, backend="synthetic", environment=(("PYTHONPATH", str(PREDICTORS)),))
    artifact = Artifact(
        backend="synthetic", backend_version="1", model_digest="", target=Target.CPU, folder=Path("/"), facts=facts
    )
    rows = np.zeros((3, 2), dtype=np.float32)
    request, host = JobRequest(name="j", sla=sla, allow_noise=allow_noise), describe_host()
    with start_workers(
        configuration,
        artifact,
        rows,
        cpus=(host.cpus[0].cpu,),
        memory_bytes=memory_bytes,
        loader="synthetic_predictors:load",
    ) as workers:
        return run_test(workers, request, host, durations, seed=1, keep=keep)


def test_a_call_longer_than_the_screening_is_given_the_time_to_be_counted() -> None:
    trial = simulated_trial_of(Sla(), us=200_000)
    assert trial.capacity.throughput_per_s == pytest.approx(1 / 0.2, rel=0.15)


def test_a_rate_is_shared_out_over_instances_that_keep_a_reserve() -> None:
    trial = simulated_trial_of(Sla(thresholds=parse_sla("p95=500ms"), rate_per_s=1000.0), durations=LONGER, us=4000)
    assert trial.capacity.loop == "closed"
    assert trial.at_rate is not None
    assert trial.at_rate.loop == "open"
    per_instance = 1000.0 / trial.instance_count
    assert per_instance <= 0.8 * trial.capacity.throughput_per_s
    assert trial.at_rate.offered_per_s == pytest.approx(per_instance, rel=0.4)
    assert trial.verdict == "PASS"


@pytest.mark.timed
@pytest.mark.thorough
def test_a_test_beside_a_neighbour_is_invalid_and_says_so(hog: Hog) -> None:
    asked = Sla(thresholds=parse_sla("p95=1s"), rate_per_s=50.0)
    with hog(describe_host().cpus[0].cpu):
        trial = trial_of(asked, act="spin", us=1000, allow_noise=False)
    assert trial.verdict == "INVALID"
    assert "competing load" in {problem.kind for problem in trial.problems}
    assert trial.reason is not None


@pytest.mark.integration
def test_a_test_that_needs_more_memory_than_its_profile_fails_where_memory_can_be_limited() -> None:
    limit = 200 * 2**20
    contained = any(method != "affinity" and found.available for method, found in available_methods())
    if contained:
        with pytest.raises(OutOfMemory, match="more memory than the 200 MiB of the profile"):
            trial_of(Sla(), memory_bytes=limit, act="leak", mb=8, most_mb=400)
    else:
        trial = trial_of(Sla(), memory_bytes=limit, act="leak", mb=8, most_mb=400)
        assert trial.measurement.peak_memory_bytes > limit


def test_a_rate_too_low_to_give_the_samples_stays_undecided_and_takes_seconds_only() -> None:
    kept: list[Measurement] = []

    def keep(measurement: Measurement) -> str:
        kept.append(measurement)
        return "somewhere"

    trial = simulated_trial_of(Sla(thresholds=parse_sla("p99=1s"), rate_per_s=5.0), us=10, keep=keep)
    assert trial.verdict == "UNDECIDED"
    assert "of 1" in (trial.reason or "")
    assert (trial.kept_in, trial.measurement.runs) == ("somewhere", ())
    assert len(kept[0].runs) == 2
    assert kept[0].runs[1].traffic.duration_s <= 3


@pytest.mark.timed
@pytest.mark.thorough
def test_more_instances_are_planned_until_queueing_leaves_room_for_the_limit() -> None:
    rate_per_s = 190.0
    trial = trial_of(
        Sla(thresholds=parse_sla("p95=15ms"), rate_per_s=rate_per_s), durations=LONGER, act="sleep", us=4000
    )
    assert trial.verdict == "PASS"
    assert trial.instance_count > rate_per_s / (0.8 * trial.capacity.throughput_per_s)
    assert trial.instance_count >= 2


def test_no_number_of_instances_makes_a_call_faster_so_none_is_tried() -> None:
    trial = simulated_trial_of(Sla(thresholds=parse_sla("p95=2ms"), rate_per_s=100.0), us=4000)
    assert (trial.verdict, trial.instance_count) == ("FAIL", 1)


@pytest.mark.parametrize(
    ("rate_per_s", "durations", "spare_s", "left_s", "duration_s"),
    [
        (20.0, CONFIRMING, 0.0, 60.0, 36.0),
        (20.0, CONFIRMING, 0.0, 1.9, 1.2),
        (20.0, CONFIRMING, 0.0, 0.8, 0.5),
        (2000.0, LONGER, 5.0, 60.0, 13.0),
        (2000.0, LONGER, 5.0, 9.7, 9.0),
        (2000.0, LONGER, 5.0, 1.9, 1.2),
    ],
)
def test_the_open_loop_takes_what_time_there_is_and_is_not_lost(
    rate_per_s: float, durations: Durations, spare_s: float, left_s: float, duration_s: float
) -> None:
    kept: list[Measurement] = []

    def keep(measurement: Measurement) -> None:
        kept.append(measurement)

    asked = JobRequest(name="job", sla=Sla(thresholds=parse_sla("p95=100ms"), rate_per_s=rate_per_s))
    with time_limit(lambda: left_s):
        driver = SimulatedDriver(configuration=configuration("forest"), service_us=20.0)
        run_test(driver, asked, simulated_host(), durations, spare_s=spare_s, seed=1, keep=keep)
    assert kept[0].runs[-1].traffic.duration_s == pytest.approx(duration_s)


def test_the_more_plateaus_may_pass_the_surer_one_has_to_be() -> None:
    def judged(limit_ms: float) -> Trial:
        stairs = ClosedLoop.stairs(steps=4, users_per_step=1, step_duration_s=1.0)
        asked = JobRequest(name="job", phases=stairs, sla=Sla(thresholds=parse_sla(f"p95={limit_ms:.6f}ms")))
        driver = SimulatedDriver(configuration=configuration("forest", vcpus=4, workers=4), service_us=500.0)
        return run_test(driver, asked, simulated_host(), SCREENING, seed=1)

    generous = judged(1000.0)
    p95_ms, (_, high_ms) = generous.capacity.latency_ms["p95"], generous.capacity.latency_ms_ci95["p95"]
    assert p95_ms is not None
    surely_ms = p95_ms * (high_ms / p95_ms) ** (1.001 * widening(4, 1))
    assert surely_ms > 1.001 * high_ms
    assert (generous.verdict, judged(1.0001 * high_ms).verdict, judged(surely_ms).verdict) == (
        "PASS",
        "UNDECIDED",
        "PASS",
    )
