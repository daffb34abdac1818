"""Config files: what is written reads back, what is wrong is said in a line, and the schema says the same."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

from servefit.backends.model.given import Given
from servefit.backends.payload.bodies import Bodies
from servefit.backends.quality.limits import DeviationLimit, PrecisionLimits, QualityLimit
from servefit.backends.variables.secret import revealed
from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.instance_profile import CLOUDS
from servefit.profiler.record.traffic import ClosedLoop, TrafficPhase
from servefit.search.request.config_file import MAX_BYTES, config_text, parse_config, read_config
from servefit.search.request.config_problems import checked_config
from servefit.search.request.job_request import GOALS, EnvironmentRange, JobRequest, plain_name
from servefit.search.request.plain_yaml import load_yaml
from servefit.search.request.sla import Sla

PUBLISHED = Path(__file__).parents[3] / "docs" / "job.schema.json"

EVERYTHING = """
model: model.ubj
payload: payload.csv
rows_per_request: 2
sla: {p95: 10ms, p99.9: 0.1s}
rate: 30000/min
arrivals: sine:amplitude=0.5,period=4s
profile: [local-1c, ml.m5.large]
cloud: [aws, gcp]
backend: onnxruntime
env: {OMP_NUM_THREADS: [1, 2], SAGEMAKER_MODEL_SERVER_WORKERS: 1, FLAG: [on, 'off', 007]}
batch: [1, 8]
batch_delay: [0, 500us]
goal: balanced
cost_weight: 1
phase:
  - {users: 2, spawn: 2/min, duration: 120s}
  - {users: 1, duration: 1m}
flat_invocations: continue
max_tests: 5
max_parallel_tests: 2
budget: 20m
http: false
name: nightly
seed: 3
allow_noise: true
allow_batch_dependence: true
allow_precision: [int8, bf16]
max_deviation: 1%,cosine=0.99
quality: labels.csv
metric: accuracy
quality_drop: 0.5%
"""


def read(text: str) -> JobRequest:
    return parse_config(text.encode(), "job.yaml").request("job")


def test_every_key_means_what_its_option_means() -> None:
    assert read(EVERYTHING) == JobRequest(
        name="job",
        rows_per_request=2,
        sla=Sla(
            thresholds=(
                LatencyThreshold(percentile="p95", limit_ms=10),
                LatencyThreshold(percentile="p99.9", limit_ms=100),
            ),
            rate_per_s=500,
        ),
        arrivals="sine:amplitude=0.5,period=4s",
        profiles=("local-1c", "ml.m5.large"),
        clouds=("aws", "gcp"),
        backends=("onnxruntime",),
        environment=(
            EnvironmentRange.parse("OMP_NUM_THREADS=1,2"),
            EnvironmentRange.parse("MODEL_SERVER_WORKERS=1"),
            EnvironmentRange.parse("FLAG=on,off,007"),
        ),
        batch_sizes=(1, 8),
        batch_delays_us=(0, 500),
        goal="balanced",
        cost_weight=1,
        phases=ClosedLoop(
            phases=(
                TrafficPhase(initial_users=2, spawn_per_minute=2, duration_s=120),
                TrafficPhase(initial_users=1, spawn_per_minute=0, duration_s=60),
            )
        ),
        flat_invocations="Continue",
        max_tests=5,
        max_parallel_tests=2,
        budget_s=1200,
        over_http=False,
        seed=3,
        allow_noise=True,
        allow_batch_dependence=True,
        precision=PrecisionLimits(
            allowed=("int8", "bf16"),
            deviations=(
                DeviationLimit(measure="share", limit=0.01),
                DeviationLimit(measure="cosine", limit=0.99),
            ),
            quality=QualityLimit(source="labels.csv", metric="accuracy", drop=0.005),
        ),
    )


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("sla: p95=10ms", "sla: {p95: 10ms}"),
        ("sla: 'p95=10ms, p99=20ms'", "sla: [p95=10ms, p99=20ms]"),
        ("batch: 8", "batch: [8]"),
        ("batch_delay: 0", "batch_delay: [0]"),
        ("batch_delay: 0,1ms", "batch_delay: [0, 1ms]"),
        ("profile: local-1c", "profile: [local-1c]"),
        ("env: {A: 1}", "env: [{variable: A, values: [1]}]"),
        ("stairs: {steps: 2, users: 3, duration: 4s}", "phase: [{users: 3, duration: 4s}, {users: 3, duration: 4s}]"),
        (
            "{allow_precision: int8, max_deviation: 0.01}",
            "{allow_precision: [int8], max_deviation: 1%}",
        ),
        ('{"rate": "5/s", "$schema": "job.schema.json"}', "rate: 5/s"),
        ("\ufeffrate: 5/s", "rate: 5/s"),
        ('{"env": {"A": "\\ud83d\\ude00"}}', "env: {A: \U0001f600}"),
    ],
)
def test_what_can_be_said_shorter_means_the_same(short: str, long: str) -> None:
    assert read(short) == read(long)


def test_paths_are_seen_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("model: models/fraud.ubj\npayload: /data/payload.csv\n")
    config = read_config(tmp_path / "job.yaml")
    assert (config.model, config.payload) == (str(tmp_path / "models/fraud.ubj"), "/data/payload.csv")


above_zero = st.floats(1e-6, 1e6)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
variables = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name == plain_name(name))


def several(one: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(one, max_size=4, unique=True).map(tuple)


@st.composite
def thresholds(draw: st.DrawFn) -> tuple[LatencyThreshold, ...]:
    percentiles = sorted(draw(st.sets(st.sampled_from([0.5, 50, 90, 95, 99, 99.9, 99.99]), max_size=5)))
    limits = sorted(draw(st.lists(above_zero, min_size=len(percentiles), max_size=len(percentiles))))
    found = [
        LatencyThreshold(percentile=f"p{p:g}", limit_ms=limit) for p, limit in zip(percentiles, limits, strict=True)
    ]
    return tuple(draw(st.permutations(found)))


@st.composite
def ranges(draw: st.DrawFn) -> tuple[EnvironmentRange, ...]:
    counts = st.integers(1, 64).map(str)
    found = [
        EnvironmentRange(variable=name, values=values, profiles=draw(several(names)))
        for name in draw(st.lists(variables, max_size=3, unique=True))
        if (values := draw(several(st.text(min_size=1) | counts)))
    ]
    if workers := draw(several(counts)):
        found += [
            EnvironmentRange(variable="MODEL_SERVER_WORKERS", values=workers, profiles=("a",)),
            EnvironmentRange(variable="MODEL_SERVER_WORKERS", values=workers, profiles=("b", "c")),
        ]
    return tuple(found)


def phase(initial_users: int) -> st.SearchStrategy[TrafficPhase]:
    return st.builds(
        TrafficPhase,
        initial_users=st.just(initial_users) | st.integers(0, 9),
        spawn_per_minute=st.just(0.0) | st.floats(0.01, 5),
        duration_s=st.floats(0.1, 100),
    )


def closed_loop(phases: tuple[TrafficPhase, ...]) -> ClosedLoop:
    resting = TrafficPhase(initial_users=1, spawn_per_minute=0, duration_s=1.5)
    return ClosedLoop(phases=(*phases, resting))


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.just("job"),
    "sla": st.builds(Sla, thresholds=thresholds(), rate_per_s=st.none() | above_zero),
    "arrivals": st.sampled_from(["poisson", "constant", "replay:/a, b#c.csv,speed=2"]),
    "profiles": several(names),
    "clouds": several(st.sampled_from(CLOUDS)),
    "backends": several(names),
    "environment": ranges(),
    "batch_sizes": several(st.integers(2, 512)),
    "batch_delays_us": several(st.integers(0, 10_000_000)),
    "phases": st.none()
    | st.lists(phase(1), max_size=3).map(tuple).map(closed_loop)
    | st.builds(
        ClosedLoop.stairs, steps=st.integers(1, 9), users_per_step=st.integers(1, 9), step_duration_s=st.floats(1, 100)
    ),
    "flat_invocations": st.sampled_from(["Stop", "Continue"]),
    "goal": st.sampled_from(GOALS),
    "cost_weight": st.floats(0, 1),
    "budget_s": st.none() | st.floats(1000, 1e5),
    "max_tests": st.none() | st.integers(8, 10**6),
    "max_parallel_tests": st.integers(1, 8),
    "rows_per_request": st.integers(1, 10**4),
    "seed": st.integers(0, 2**32 - 1),
    "allow_noise": st.booleans(),
    "allow_batch_dependence": st.booleans(),
    "precision": st.just(PrecisionLimits())
    | st.builds(
        PrecisionLimits,
        allowed=st.sampled_from([("int8",), ("int8", "bf16")]),
        deviations=st.builds(
            lambda *limits: tuple(limit for limit in limits if limit is not None),
            st.builds(DeviationLimit, measure=st.just("share"), limit=st.floats(1e-6, 1)),
            st.none() | st.builds(DeviationLimit, measure=st.just("cosine"), limit=st.floats(0.1, 0.9999)),
            st.none() | st.builds(DeviationLimit, measure=st.just("top1"), limit=st.floats(0.1, 0.9999)),
        ),
        quality=st.none()
        | st.builds(
            QualityLimit,
            source=st.just("labels.csv"),
            metric=st.sampled_from(["accuracy", "recall@5", "own.metrics:score"]),
            drop=st.floats(1e-6, 1),
        )
        | st.builds(
            QualityLimit,
            source=st.just("array"),
            metric=st.just("mae"),
            drop=st.just(0.5),
            labels=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3).map(tuple),
        ),
    ),
    "deploy": st.none() | st.sampled_from(["endpoint", "library"]),
    "over_http": st.booleans(),
}
"""Values of every field of a request that a file can have."""

NOT_IN_FILES = {"decided_at"}
"""Fields that nobody gives: jobs from before have them."""

requests = (
    st.fixed_dictionaries(VALUES)
    .filter(lambda values: values["over_http"] or values["deploy"] != "endpoint")
    .map(lambda values: JobRequest(**values))
)


def test_values_of_every_field_are_written_and_read() -> None:
    assert VALUES.keys() | NOT_IN_FILES == set(JobRequest.__struct_fields__)


input_values = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6).map(float)


@settings(deadline=None, max_examples=examples(20, drawn=60))
@given(
    st.dictionaries(st.text(min_size=1), input_values, max_size=3),
    st.dictionaries(st.text(min_size=1), st.lists(st.integers(1, 10**6), min_size=1, max_size=3), max_size=3),
    st.none() | st.text(min_size=1),
)
def test_what_is_said_of_inputs_reads_back_the_same(
    constants: dict[str, float], sizes: dict[str, list[int]], mask: str | None
) -> None:
    said = Given(constants, mask)
    config = parse_config(config_text(JobRequest(name="job"), model="m", given=said, sizes=sizes).encode(), "job.yaml")
    assert Given.checked(config.input or {}, config.pad or None) == said
    assert (config.size or {}) == sizes


@pytest.mark.integration
@settings(deadline=None, max_examples=examples(20, drawn=60))
@given(requests, st.text(min_size=1), st.none() | st.text(min_size=1))
def test_what_is_written_reads_back_the_same(request: JobRequest, model: str, payload: str | None) -> None:
    text = config_text(request, model=model, payload=payload)
    config = parse_config(text.encode(), "job.yaml")
    assert config.request("job") == request
    assert (config.model, config.payload or None) == (model, payload)


def test_what_is_said_of_the_requests_to_a_script_reads_back_the_same() -> None:
    bodies = Bodies(source="texts.csv", content_type="text/plain", accept="text/csv", each_line=True)
    text = config_text(JobRequest(name="job"), model="m.tar.gz", payload="texts.csv", bodies=bodies)
    config = parse_config(text.encode(), "job.yaml")
    assert (config.content_type, config.accept, config.each_line) == ("text/plain", "text/csv", True)
    assert "each_line" not in config_text(JobRequest(name="job"), model="m", bodies=Bodies(source="photos"))


def test_what_is_as_usual_is_not_written_and_the_name_neither() -> None:
    text = config_text(JobRequest(name="nightly"), model="model.ubj")
    assert load_yaml(text) == {"model": "model.ubj"}
    assert text.startswith("# A job for servefit")


def refused(content: bytes) -> SpecError:
    with pytest.raises(SpecError) as caught:
        parse_config(content, "job.yaml")
    assert "job.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"# nothing but a comment\n", "is empty"),
        (b"- model.ubj\n", "is no mapping"),
        (b"rate: [1", "cannot be read as YAML: while parsing a flow sequence, expected ',' or ']'"),
        (b"rate: 5/s\n---\nrate: 6/s\n", "cannot be read as YAML: expected a single document"),
        (b"model: a\x00b", "cannot be read as YAML: special characters"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b'{"model": "\\ud83d"}', "is not UTF-8"),
        (b"[" * 40_000, "more than 20 levels"),
        (b"seed: 1\nseed: 2\n", "seed is given twice (line 2)"),
        (b"sla: {p95: 1ms, p95: 2ms}", "sla.p95 is given twice (line 1)"),
        (b"model: !!python/object/apply:os.system [ls]", "model has the tag !!python/object/apply:os.system"),
        (b"model: !!binary aGk=", "has the tag !!binary"),
        (b"profile: &all [a]\nbackend: *all\n", "aliases are not followed (line 2)"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "aliases are not followed (line 2)"),
        (b"profile: &all [*all]", "aliases"),
        (b"? [rate]\n: 5/s", "is no text"),
    ],
)
def test_a_file_that_is_no_plain_mapping_is_refused(content: bytes, words: str) -> None:
    assert words in str(refused(content))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle: m", "job.yaml: 'modle' is not known; did you mean 'model'?"),
        ("max-tests: 3", "did you mean 'max_tests'?"),
        ("phase: [{users: 1, duration: 1s}, {usrs: 1, duration: 1s}]", "phase[1]: 'usrs' is not known; did you mean"),
        ("trust_pickle: true", "'trust_pickle' is for the command line alone; say --trust-pickle there"),
        ("rate: 500", "rate: 500 has no unit; say 500/s or 500/min"),
        ("rate: '500'", "rate: '500' has no unit; say 500/s or 500/min"),
        ("rate:", "rate has no value"),
        ("budget: 60", "budget: 60 has no unit; say 60ms, 60s or 60m"),
        ("sla: {p95: 10}", "sla.p95: 10 has no unit; say 10ms, 10s or 10m"),
        ("sla: {median: 10ms}", "sla.median: 'median' is no percentile between 0 and 100"),
        ("sla: p95", "sla: 'p95' does not look like p95=100ms"),
        ("sla: {p95: 2ms, p99: 1ms}", "contradicts"),
        ("batch_delay: [0, 5]", "batch_delay[1]: 5 has no unit; say 5ms, 5s or 5m"),
        ("batch: [1, 0]", "batch[1]: 0 is not above zero"),
        ("phase: [{users: 1, duration: 1s}, {users: 1}]", "phase[1]: {'users': 1} has no duration"),
        ("phase: [{users: 1, spawn: 2, duration: 60s}]", "phase[0].spawn: 2 has no unit; say 2/s or 2/min"),
        ("phase: [{users: 1, duration: 60}]", "phase[0].duration: 60 has no unit; say 60ms, 60s or 60m"),
        ("phase: [{users: 200000, duration: 60s}]", "phase[0].users: 200000 makes more than 100000 users"),
        ("phase: [{users: 1, duration: 60s}]\nbudget: 30s", "budget: 30.0 is less than the 60 s"),
        ("stairs: {steps: 1, users: 1, duration: 1s}\nphase: [{users: 1, duration: 1s}]", "stairs cannot be"),
        ("env: {A: [1, 0.5]}", "env.A[1]: 0.5 is not a whole number or text; write it in quotes"),
        ("env: {OMP_NUM_THREADS: [0]}", "env: 'OMP_NUM_THREADS=0' is not a whole number above zero"),
        ("env: {B-C: 1}", "env.B-C: 'B-C' is not the name of an environment variable"),
        ("goal: latencey", "goal: 'latencey' is not known; did you mean 'latency'?"),
        ("http: yes", "http: 'yes' is not true or false"),
        ("profile: []", "profile: [] is empty; leave it out"),
        ("profile: 5", "profile: 5 is not text or a list; write it in quotes"),
        ("seed: -1", "seed: -1 is below zero"),
        ("cost_weight: 2", "cost_weight: 2 is above 1"),
        ("cost_weight: .nan", "cost_weight: '.nan' is not a number"),
        ("wait: 5", "wait: 5 has no unit; say 5ms, 5s or 5m"),
        ("rate: +5/s", "rate: '+5/s' does not look like 500/s or 30000/min"),
        ("sla: ''", "sla: '' is empty; leave it out, or give it a value"),
        ("max_tests: 1.5", "max_tests: 1.5 is not a whole number"),
        ("max_tests: 1\nmax_parallel_tests: 2", "max_parallel_tests: 2 is more than"),
        ("name: a b", "name: 'a b' is not a name of letters"),
        ("model: {file: m}", "model: {'file': 'm'} is not text"),
        ("input: {sr: fast}", "input.sr: 'fast' does not look like zeros, a number, or float32[rows,3]"),
        ("input: 16000", "input: 16000 is not"),
        ("size: {tokens: [3, 0]}", "size.tokens[1]: 0 is not above zero"),
        ("size: {tokens: []}", "size.tokens: [] is empty"),
        ("pad: 3", "pad: 3 is not text; write it in quotes"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_path(text: str, words: str) -> None:
    assert words in str(refused(text.encode()))


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_without_end_is_neither_above_nor_below_a_bound(number: float) -> None:
    with pytest.raises(SpecError, match=rf"^cost_weight: {number} is not finite$"):
        checked_config({"cost_weight": number})


keys = st.sampled_from(["sla", "env", "phase", "rate", "goal", "users", "values", "p95", "A", "x.y", "a - at `$.rate`"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(0, 9) | st.sampled_from(["1ms", "5/s"]) | st.text()
values = st.recursive(
    scalars, lambda one: st.lists(one, max_size=2) | st.dictionaries(keys, one, max_size=2), max_leaves=4
)


@settings(deadline=None, max_examples=examples(30, drawn=100))
@given(st.dictionaries(keys, values, max_size=3).map(json.dumps) | st.text("a:1 \n-[]{}&*!|>'\"%@`#?\t", max_size=20))
def test_whatever_is_in_a_file_is_read_or_refused_in_a_line(text: str) -> None:
    said = "job.yaml"
    try:
        read(text)
    except SpecError as error:
        said = str(error)
    assert "job.yaml" in said
    assert "\n" not in said


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text("# " + "x" * MAX_BYTES)
    for path, words in (
        (tmp_path / "gone.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "long.yaml", "more than 500,000 bytes"),
    ):
        with pytest.raises(SpecError, match=words):
            read_config(path)


@pytest.mark.integration
def test_reading_does_not_damage_memory() -> None:
    """msgspec 0.22 does for some types: with Python's own checks of what is freed the process would die."""
    program = (
        "import sys; from servefit.search.request.config_file import parse_config;"
        " parse_config(sys.stdin.buffer.read(), '-')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        input=EVERYTHING.encode(),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONMALLOC": "debug"},
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_the_value_of_a_secret_is_left_for_whoever_runs_the_file_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = (EnvironmentRange.parse("FLAG=on"), EnvironmentRange.parse("API_TOKEN=hunter2"))
    text = config_text(JobRequest(name="job", environment=ranges), model="model.ubj")
    assert "secret_env: [API_TOKEN]" in text
    assert "hunter2" not in text
    monkeypatch.setenv("API_TOKEN", "another")
    [flag, token] = read(text).environment
    assert (flag.variable, flag.values) == ("FLAG", ("on",))
    assert revealed({token.variable: token.values[0]}) == {"API_TOKEN": "another"}
    monkeypatch.delenv("API_TOKEN")
    with pytest.raises(SpecError, match="secret_env: 'API_TOKEN' has no value"):
        read(text)


def test_what_stands_for_several_secrets_has_to_be_replaced_before_the_file_can_be_run() -> None:
    text = config_text(JobRequest(name="job", environment=(EnvironmentRange.parse("API_TOKEN=a1,b2"),)), model="m.ubj")
    assert "a1" not in text
    with pytest.raises(SpecError, match="'API_TOKEN' is a secret, and its value is not known here; give the value"):
        read(text)


@pytest.mark.parametrize("value", ["[hunter2, [hunter2]]", "1.5", "{hunter2: 1}"])
def test_what_is_wrong_with_the_secret_of_a_file_is_said_without_it(value: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(f"env: {{API_TOKEN: {value}}}")
    assert "API_TOKEN" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "1.5" not in str(caught.value)
