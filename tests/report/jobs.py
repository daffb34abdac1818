"""The kinds of jobs that a report has to cope with, one function each. They keep it under the name of its kind."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost
from tests.report.story import GIB, MODEL, PAYLOAD, PROFILES, Story, configuration, simulated_host

import servefit
from servefit.backends.types import Target
from servefit.profiler.machine.gpu import Gpu
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.traffic import ClosedLoop
from servefit.search.request.job_request import EnvironmentRange, JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.recommendation import Skipped
from servefit.state import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable

MANY_TESTS = 200

HOSTILE = (
    "<script>window.hostile = 1; alert(1)</script> \"double\" 'single' </script></style></table></textarea><!-- "
    '<img src=x onerror="window.hostile = 1"> &amp; & {{ 7 * 7 }} ${7 * 7} \\u003c %s \x1b[31mred\x1b[0m \u2028 ]]>'
)
"""What a crashed worker may say, and a file may be called."""

SLA = Sla(thresholds=parse_sla("p95=20ms"), rate_per_s=500.0)

_IMPORTANCE = (("backend", 0.61), ("threads", 0.17), ("max_batch", 0.09), ("workers", 0.004))
_SPEEDUPS = (("treelite", Target.CPU, 1.57), ("onnxruntime", Target.CPU, 4.4), ("forest", Target.CPU, 23.6))


def measured(name: str) -> None:
    """A job that was really run, on real workers."""
    folder = state_folder("models")
    rows = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, rows[:, 0]), num_boost_round=5)
    booster.save_model(folder / "model.ubj")
    servefit.right_size(
        folder / "model.ubj",
        sample_payload=rows,
        supported_instance_types=["local-1c"],
        backends=["xgboost"],
        model_latency_thresholds=[servefit.ModelLatencyThreshold("P95", 500)],
        max_invocations=6000,
        max_tests=1,
        batch_sizes=[1],
        allow_noise=True,
        deploy="library",
        over_http=False,
        job_name=name,
    )


def over_http(name: str) -> None:
    """All that a search does: four backends, rounds of finalists, a confirmation, and the winner over HTTP."""
    story = Story.of(JobRequest(name=name, sla=SLA))
    naive = configuration("xgboost", vcpus=2, threads=2)
    winner, runner_up = configuration("forest"), configuration("onnxruntime")
    _compile_and_time(story, "xgboost", "treelite", "onnxruntime", "forest")
    for tested in (naive, configuration("treelite"), runner_up, winner, configuration("forest", vcpus=2, workers=2)):
        story.tests(tested)
    for nth_round in range(3):
        for tested in (winner, runner_up, naive):
            story.tests(tested, kind="confirmation", nth_round=nth_round, slower=1 + 0.02 * nth_round)
    story.tests(winner, kind="confirmation")
    story.tests(winner, kind="endpoint", http_us=120.0)
    story.keep(
        importance=_IMPORTANCE,
        speedups=_SPEEDUPS,
        naive=naive,
        skipped=(
            Skipped(kind="backend", name="tl2cgen", reason="it would take about 47 s to compile"),
            Skipped(kind="instance_profile", name="ml.m5.12xlarge", reason="needs 48 vCPUs, this host has 4"),
        ),
        remarks=("not measured: local-2c; the default budget of 42 s ran out (--budget 44s)",),
    )


def endpoint(name: str) -> None:
    """The endpoint is deployed: all tests are over HTTP, and the winner is measured once more in process."""
    story = Story.of(JobRequest(name=name, sla=SLA, deploy="endpoint"))
    winner, runner_up = configuration("forest"), configuration("onnxruntime")
    _compile_and_time(story, "xgboost", "onnxruntime", "forest")
    for tested in (configuration("xgboost"), runner_up, winner):
        story.tests(tested, http_us=120.0)
    for nth_round in range(3):
        for tested in (winner, runner_up):
            story.tests(tested, kind="confirmation", nth_round=nth_round, http_us=120.0)
    story.tests(winner, kind="confirmation", http_us=120.0)
    story.tests(winner, kind="model_alone")
    story.keep(importance=_IMPORTANCE, speedups=_SPEEDUPS[1:])


def predicted(name: str) -> None:
    """The endpoint is deployed, on all CPUs that there are: it is predicted from what was measured in process."""
    story = Story.of(JobRequest(name=name, sla=SLA, deploy="endpoint"), profiles=PROFILES[1:])
    _compile_and_time(story, "xgboost", "forest")
    story.learns_endpoint_costs(configuration("xgboost"))
    for backend in ("xgboost", "forest"):
        story.predicts(configuration(backend, vcpus=2, workers=2))
    story.keep(importance=_IMPORTANCE, speedups=_SPEEDUPS[2:])


def unmet(name: str) -> None:
    """Nothing keeps the SLA."""
    story = Story.of(JobRequest(name=name, sla=Sla(thresholds=parse_sla("p95=0.1ms"), rate_per_s=500.0)))
    _compile_and_time(story, "xgboost", "treelite")
    for tested in (configuration("xgboost"), configuration("treelite"), configuration("treelite", vcpus=2, workers=2)):
        story.tests(tested)
    story.keep(importance=_IMPORTANCE, changes=("a limit of p95=0.5 ms", "a model with a third of the trees"))


def with_failures(name: str) -> None:
    """Compilations failed, workers crashed, and the machine got in the way; whoever named the files meant no good."""
    environment: dict[str, Any] = {"environment": (("OMP_WAIT_POLICY", HOSTILE),)}
    named = InstanceProfile(name="rack <b>7</b> & 'co'", vcpus=1, memory_bytes=4 * GIB, price_per_hour=0.02)
    story = Story.of(
        JobRequest(name=name, sla=SLA, environment=(EnvironmentRange(variable="OMP_WAIT_POLICY", values=(HOSTILE,)),)),
        model=replace(MODEL, source=f"models/{HOSTILE}.ubj", warnings=(f"the file says {HOSTILE}",)),
        payload=replace(PAYLOAD, source=f"{HOSTILE}.csv"),
        host=simulated_host(cpu_model=f"Imaginary {HOSTILE}"),
        profiles=(named, PROFILES[1]),
    )
    story.compiles("xgboost", "forest")
    story.fails_to_compile("tl2cgen", f"gcc ended with status 1 (it said: {HOSTILE})")
    story.fails_to_compile("onnxruntime", "its predictions differ by 0.25")
    for backend in ("xgboost", "forest"):
        story.tests(configuration(backend, **environment))
    for threads in (1, 2):
        tested = configuration("forest", vcpus=2, threads=threads, **environment)
        story.crashes(tested, f"worker 1 was killed by SIGSEGV (it said: {HOSTILE})")
    story.tests(configuration("forest", vcpus=2, workers=2, **environment), steal_percent=7.5)
    story.keep(skipped=(Skipped(kind="backend", name="treelite", reason=HOSTILE),), remarks=(HOSTILE,))


def with_one_profile(name: str) -> None:
    story = Story.of(JobRequest(name=name, sla=SLA), profiles=PROFILES[:1])
    _compile_and_time(story, "xgboost", "forest")
    for backend in ("xgboost", "forest"):
        story.tests(configuration(backend))
    story.keep(importance=(("backend", 1.0),), speedups=_SPEEDUPS[2:])


def without_prices(name: str) -> None:
    """And nothing is asked of it."""
    profiles = tuple(replace(profile, price_per_hour=None, price_source=None) for profile in PROFILES)
    story = Story.of(JobRequest(name=name), profiles=profiles)
    _compile_and_time(story, "xgboost", "forest")
    for vcpus in (1, 2):
        for backend in ("xgboost", "forest"):
            story.tests(configuration(backend, vcpus=vcpus, workers=vcpus))
    story.keep(importance=_IMPORTANCE)


def unmeasurable(name: str) -> None:
    """There is not a single figure."""
    story = Story.of(JobRequest(name=name, sla=SLA))
    story.fails_to_compile("xgboost", "the library could not be loaded")
    story.fails_to_compile("forest", "no kernel was built for this machine")
    story.keep("FAILED", skipped=(Skipped(kind="backend", name="treelite", reason="it is not installed"),))


def unfinished(name: str) -> None:
    """It was killed in the middle of a test."""
    story = Story.of(JobRequest(name=name, sla=SLA))
    _compile_and_time(story, "xgboost", "forest")
    story.tests(configuration("xgboost"))
    story.begins(configuration("forest"))
    story.keep("IN_PROGRESS")


def in_phases(name: str) -> None:
    """Users join one after the other."""
    phases = ClosedLoop.stairs(steps=4, users_per_step=1, step_duration_s=1.5)
    sla = Sla(thresholds=parse_sla("p95=2ms"))
    story = Story.of(JobRequest(name=name, sla=sla, phases=phases, flat_invocations="Continue"))
    _compile_and_time(story, "xgboost", "treelite")
    for tested in (configuration("xgboost"), configuration("treelite", vcpus=2, workers=2)):
        story.tests(tested)
    story.keep(importance=_IMPORTANCE)


def on_a_gpu(name: str) -> None:
    gpu = Gpu(index=0, model="Tesla T4", memory_bytes=16 * GIB, driver="550.54")
    with_gpu = InstanceProfile(
        name="ml.g4dn.xlarge",
        vcpus=2,
        memory_bytes=16 * GIB,
        gpus=1,
        gpu_model="T4",
        price_per_hour=0.736,
        price_source="price list of 2023",
    )
    story = Story.of(
        JobRequest(name=name, sla=SLA),
        host=simulated_host(gpus=(gpu,), no_gpu_reason=None),
        profiles=(with_gpu, PROFILES[0]),
    )
    on_gpu = configuration("onnxruntime", vcpus=2, target=Target.CUDA, gpu=0)
    _compile_and_time(story, "xgboost", "onnxruntime")
    story.compiles("onnxruntime", target=Target.CUDA)
    for tested in (configuration("xgboost"), configuration("onnxruntime"), on_gpu):
        story.tests(tested)
    story.keep(importance=_IMPORTANCE, speedups=(("onnxruntime", Target.CPU, 4.4), ("onnxruntime", Target.CUDA, 2.1)))


def without_samples(name: str) -> None:
    """Somebody deleted what was recorded."""
    with_one_profile(name)
    shutil.rmtree(state_folder("jobs", name) / "measurements")


def large(name: str) -> None:
    """MANY_TESTS load tests, with raw samples of each."""
    story = Story.of(JobRequest(name=name, sla=SLA))
    _compile_and_time(story, "xgboost", "treelite", "onnxruntime", "forest")
    random = np.random.default_rng(0)
    firsts = {backend: story.tests(configuration(backend)) for backend in ("xgboost", "treelite", "onnxruntime")}
    space = [
        configuration(backend, vcpus=vcpus, workers=workers, max_batch=size, batch_delay_us=delay_us)
        for backend in firsts
        for vcpus, workers in ((1, 1), (2, 1), (2, 2))
        for size in (2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384)
        for delay_us in (0, 1000)
    ]
    for tested in space[: MANY_TESTS - len(firsts)]:
        story.repeats(firsts[tested.backend], tested, slower=float(random.uniform(1.0, 2.5)))
    story.keep(importance=_IMPORTANCE, speedups=_SPEEDUPS)


def _compile_and_time(story: Story, *backends: str) -> None:
    story.compiles(*backends)
    story.times(*map(configuration, backends))


KINDS: dict[str, Callable[[str], Any]] = {
    "measured": measured,
    "over-http": over_http,
    "endpoint": endpoint,
    "predicted": predicted,
    "unmet": unmet,
    "with-failures": with_failures,
    "one-profile": with_one_profile,
    "without-prices": without_prices,
    "unmeasurable": unmeasurable,
    "unfinished": unfinished,
    "in-phases": in_phases,
    "on-a-gpu": on_a_gpu,
    "without-samples": without_samples,
    "large": large,
}
