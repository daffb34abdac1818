"""Load on running endpoints, with servers whose behaviour is known."""

from __future__ import annotations

import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

import servefit
from servefit.errors import MeasurementError, SpecError, UnreadableMeasurement
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.search.endpoints.load import load_endpoint
from servefit.search.request.load_request import LoadRequest
from servefit.search.request.sla import Sla

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Hog, HttpServer

    from servefit.search.endpoints.load_result import LoadTest

pytestmark = pytest.mark.integration

ROWS = [[1, 2, 3], [4, 5, 6]]
DELAY_S = 0.004
ANSWER = b'{"predictions": [0.5]}'
TIMING = {"server-timing": "queue;dur=0.5, predict;dur=1.5"}


@pytest.fixture(scope="module")
def url(http_server: HttpServer) -> Iterator[str]:
    """A server that answers after 4 ms, and says how much of that was the model's; /bare says nothing, /one answers
    one request in ten with a 503, /moved is elsewhere for as many."""
    numbers = itertools.count()

    def respond(path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(DELAY_S)
        tenth = path in ("/one", "/moved") and next(numbers) % 10 == 9
        if path == "/one" and tenth:
            return 503, b'{"error": "busy"}', {}
        if path == "/moved" and tenth:
            return 302, b"", {"location": "/bare"}
        return 200, ANSWER, {} if path == "/bare" else TIMING

    with http_server(respond) as url:
        yield f"{url}/score"


def load(url: str, **options: Any) -> LoadTest:
    usual: dict[str, Any] = {"payload": ROWS, "protocol": "json", "allow_noise": True, "duration_s": 0.4}
    return load_endpoint(url, **usual | options)


@pytest.fixture(scope="module")
def two_users(url: str) -> LoadTest:
    return load(url, users=2)


def limit(percentile: str, limit_ms: float) -> LatencyThreshold:
    return LatencyThreshold(percentile=percentile, limit_ms=limit_ms)


@pytest.mark.timed
def test_users_take_turns_and_nothing_is_judged(url: str, two_users: LoadTest) -> None:
    found = two_users
    assert found.run.traffic == ClosedLoop.constant(users=2, duration_s=0.4)
    assert (found.endpoint, found.protocol, found.payload) == (url, "json", "array")
    assert (found.verdict, found.max_invocations, found.is_here) == (None, None, True)
    p50 = found.latency_ms["p50"]
    assert p50 is not None
    assert 1000 * DELAY_S < p50 < 40
    assert found.summary.throughput_per_s == pytest.approx(2000 / p50, rel=0.4)
    assert found.model_latency_ms is not None
    assert found.overhead_ms is not None
    assert found.model_latency_ms["p50"] == 2.0
    overhead = found.overhead_ms["p50"]
    assert overhead is not None
    assert overhead == pytest.approx(p50 - 2, rel=0.2)


def test_a_server_on_this_machine_is_seen_with_its_cpus(two_users: LoadTest) -> None:
    assert two_users.server is not None
    assert "may use every CPU" in " ".join(two_users.warnings)
    assert two_users.summary.cpu_percent is not None


@pytest.mark.thorough
def test_where_the_server_says_nothing_of_its_times_nothing_is_claimed(url: str) -> None:
    found = load(url.replace("score", "bare"), users=1)
    assert found.model_latency_ms is None
    assert found.overhead_ms is None


@pytest.mark.timed
def test_a_limit_that_is_broken_at_a_rate_ends_the_run_and_one_that_is_kept_takes_all_of_it(url: str) -> None:
    kept = load(url, rate=100, thresholds=[limit("p95", 4000)], duration_s=4)
    assert (kept.verdict, kept.reason) == ("PASS", None)
    assert kept.summary.samples == 400
    assert isinstance(kept.run.traffic, OpenLoop)
    broken = load(url, rate=300, thresholds=[limit("p95", 1)], duration_s=20)
    assert broken.verdict == "FAIL"
    assert broken.elapsed_s < 15
    assert broken.decision is not None
    assert broken.decision.evidence[0].violations > 50


def test_phases_may_go_on_although_more_users_are_not_served_more() -> None:
    phases = ClosedLoop.constant(users=1, duration_s=1)
    assert LoadRequest(phases=phases).stopping().flat
    request = LoadRequest(phases=phases, flat_invocations="Continue", sla=Sla(rate_per_s=5))
    assert (request.stopping().flat, request.stopping().most_per_s) == (False, 5)


def test_a_limit_at_a_rate_is_given_the_time_that_a_verdict_takes() -> None:
    for limit_ms, duration_s in ((1, 5), (1000, 25), (60_000, 120)):
        sla = Sla(thresholds=(limit("p95", limit_ms),), rate_per_s=10)
        assert LoadRequest(sla=sla, timeout_s=100).open_loop().duration_s == duration_s
    assert LoadRequest(sla=Sla(rate_per_s=10)).open_loop().duration_s == 5


@pytest.mark.thorough
def test_a_rate_that_is_served_is_kept_and_one_at_which_requests_fail_is_not(url: str) -> None:
    assert load(url, rate=50, arrivals="constant").verdict == "PASS"
    found = load(url.replace("score", "one"), rate=100)
    assert found.verdict == "FAIL"
    assert found.reason is not None
    assert "requests failed" in found.reason
    assert found.summary.errors.keys() == {"status 503"}
    assert any("x status 503) and count as slower than all others" in line for line in found.warnings)


def test_a_redirect_is_an_error_of_its_kind(url: str) -> None:
    found = load(url.replace("score", "moved"), users=2)
    assert found.summary.errors.keys() == {"status 302"}
    assert found.summary.failed > 3


@pytest.mark.thorough
@pytest.mark.timed
def test_the_most_requests_are_found_without_being_asked_for_anything(url: str) -> None:
    found = load(url, duration_s=1.5)
    assert found.users is not None
    assert found.users > 1
    assert found.max_invocations == round(60 * found.summary.throughput_per_s)
    assert found.capacity == found.summary
    assert [step.users for step in found.steps[:2]] == [1, 2]
    assert found.ended is not None
    first = found.steps[0]
    assert first.latency_ms["p50"] == pytest.approx(1000 / first.throughput_per_s, rel=0.6)
    assert found.verdict is None


@pytest.mark.thorough
@pytest.mark.timed
def test_with_limits_alone_the_highest_rate_within_them_is_found(url: str) -> None:
    found = load(url, thresholds=[limit("p90", 500)], duration_s=2)
    assert found.highest is not None
    assert found.highest.root_per_s is not None
    assert found.steps[0].users == 1
    if found.highest.rate_per_s is None:
        assert (found.verdict, found.max_invocations) == ("FAIL", None)
    else:
        assert (found.verdict, found.max_invocations) == ("PASS", round(60 * found.highest.rate_per_s))


@pytest.mark.thorough
def test_phases_end_where_a_limit_breaks_and_are_judged(url: str) -> None:
    stairs = ClosedLoop.stairs(steps=2, users_per_step=1, step_duration_s=5.0)
    found = load(url, traffic=stairs, thresholds=[limit("p90", 1)], duration_s=None)
    assert (found.verdict, found.stopped, found.max_invocations) == ("FAIL", "latency", None)
    assert found.reason is not None
    assert "limit 1 ms" in found.reason
    assert [step.users for step in found.steps] == [1]


def test_what_spoils_a_measurement_makes_it_invalid_and_is_said_with_a_remedy(url: str) -> None:
    limits = [limit("p95", 0.05)]
    # No request is sent within 2.5 us of when it is due: the schedule lag is beyond what such a limit allows.
    found = load(url, rate=400, thresholds=limits, duration_s=0.25, allow_noise=False)
    assert found.verdict == "INVALID"
    assert found.reason == found.problems[0].reason
    assert "schedule lag" in [problem.kind for problem in found.problems]
    assert load(url, rate=400, thresholds=limits, duration_s=0.25).verdict == "FAIL"


@pytest.mark.thorough
@pytest.mark.timed
def test_users_who_take_turns_on_a_busy_machine_are_as_invalid_as_a_rate(url: str, hog: Hog) -> None:
    with hog(min(os.sched_getaffinity(0))), hog(max(os.sched_getaffinity(0))):
        found = load(url, users=2, allow_noise=False)
        allowed = load(url, users=2)
    assert found.verdict == "INVALID"
    assert found.reason == found.problems[0].reason
    assert "competing load" in [problem.kind for problem in found.problems]
    assert any("other processes used" in line and "before anything was sent" in line for line in found.warnings)
    assert allowed.verdict is None
    assert "competing load" in [problem.kind for problem in allowed.problems]


def test_an_endpoint_that_stops_answering_is_an_error(http_server: HttpServer) -> None:
    numbers = itertools.count()

    def respond(path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        return (500 if next(numbers) else 200), b"{}", {}

    with http_server(respond) as url, pytest.raises(MeasurementError, match="answers no request: status 500"):
        load(url, users=1)


def test_the_document_is_json_and_says_what_was_measured(url: str) -> None:
    document = json.loads(json.dumps(load(url, rate=100, thresholds=[limit("p99.9", 900)]).to_dict(), allow_nan=False))
    assert (document["schema"], document["endpoint"], document["protocol"]) == (1, url, "json")
    assert document["driver"] == "http"
    assert document["sla"] == {"thresholds": [{"percentile": "p99.9", "limit_ms": 900}], "rate_per_s": 100}
    assert list(document["latency_ms"]) == ["p50", "p90", "p95", "p99", "p99.9"]
    assert document["overhead_latency_ms"].keys() == document["model_latency_ms"].keys()
    assert document["client"]["errors"] == document["errors"] == {}
    assert document["decision"]["evidence"][0]["samples"] > 0


def test_what_was_recorded_is_kept_and_gives_the_same_figures_again(two_users: LoadTest, tmp_path: Path) -> None:
    found = two_users
    servefit.save_measurement(found.recorded(), tmp_path / "kept")
    kept = servefit.load_endpoint_runs(tmp_path / "kept")
    assert kept == found.recorded()
    assert summarize(kept.runs[-1]) == found.summary
    with pytest.raises(UnreadableMeasurement):
        servefit.load_measurement(tmp_path / "kept")


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("users", {"rate": 10, "users": 1}),
        ("phases", {"users": 1, "traffic": ClosedLoop.constant(users=1, duration_s=1)}),
        ("phases", {"rate": 10, "traffic": ClosedLoop.constant(users=1, duration_s=1)}),
        ("duration", {"traffic": ClosedLoop.constant(users=1, duration_s=1)}),
        ("sla", {"users": 1, "thresholds": [limit("p95", 1)]}),
        ("sla", {"rate": 1, "thresholds": [limit("p95", 1), limit("p95", 2)]}),
        ("thresholds[0]", {"thresholds": ["p95=1ms"]}),
        ("arrivals", {"arrivals": "constant"}),
        ("arrivals", {"rate": 1, "arrivals": "often"}),
        ("rate", {"rate": 0}),
        ("users", {"users": 0}),
        ("duration", {"users": 1, "duration_s": 0}),
        ("duration", {"duration_s": 0.5}),
        ("duration", {"duration_s": -1}),
        ("duration", {"thresholds": [limit("p95", 1)], "duration_s": 0.1}),
        ("rows_per_request", {"users": 1, "rows_per_request": 0}),
        ("connections", {"users": 1, "connections": -1}),
        ("timeout", {"users": 1, "timeout_s": 0}),
        ("timeout", {"rate": 1, "thresholds": [limit("p95", 2000)], "timeout_s": 2}),
        ("seed", {"users": 1, "seed": -1}),
    ],
)
def test_nonsense_is_refused_with_the_field_before_anything_is_sent(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        load("http://127.0.0.1:1", **options)
    assert caught.value.field == field
    assert "given" not in str(caught.value)


def test_another_machine_has_to_be_allowed() -> None:
    with pytest.raises(SpecError, match="--allow-remote"):
        load("http://192.0.2.1:8080", users=1)
