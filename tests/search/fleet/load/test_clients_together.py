"""What makes a load from several clients a bad measurement, and the verdict on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.search.fleet.load.made_parts import around, made_run, part_of

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.problem import Problem
from servefit.search.fleet.load.judging import judged
from servefit.search.fleet.load.load_result import ClientsLoadTest, LoadClientResult
from servefit.search.request.load_request import LoadRequest
from servefit.search.request.sla import Sla

if TYPE_CHECKING:
    from servefit.search.fleet.load_orders import LoadPart

GOOD = part_of(made_run(around(1.0)))


def judge(*parts: LoadPart | str, p95_ms: float | None = 20.0, **request: Any) -> ClientsLoadTest:
    """The verdict on clients a, b and so on, one of which is lost for the reason that is in its place."""
    thresholds = () if p95_ms is None else (LatencyThreshold(percentile="p95", limit_ms=p95_ms),)
    clients = [
        LoadClientResult(
            host=f"client-{'abcdef'[nth]}",
            rate_per_s=200,
            part=None if isinstance(part, str) else part,
            lost=part if isinstance(part, str) else None,
        )
        for nth, part in enumerate(parts)
    ]
    asked = LoadRequest(sla=Sla(thresholds=thresholds, rate_per_s=200 * len(parts)), **request)
    return judged("http://lb.lan", asked, clients, elapsed_s=1.0)


def test_clients_that_sent_as_one_are_judged_by_their_merged_percentiles() -> None:
    assert judge(GOOD, GOOD).verdict == "PASS"
    assert judge(GOOD, GOOD, p95_ms=None).verdict == "PASS"
    failed = judge(GOOD, GOOD, p95_ms=1.05)
    assert failed.verdict == "FAIL"
    assert failed.reason is not None
    assert failed.reason.startswith("p95 is 1.1")


def test_a_client_that_is_lost_makes_it_invalid_whatever_the_others_measured() -> None:
    found = judge(GOOD, "its agent was silent for 6 s", GOOD, allow_noise=True)
    assert found.verdict == "INVALID"
    assert found.reason == "client-b: its agent was silent for 6 s"
    assert found.summary is not None
    assert found.summary.samples == 4000
    assert judge("gone", "gone").summary is None


def test_a_client_that_was_behind_makes_it_invalid_even_where_noise_is_allowed() -> None:
    problem = Problem(kind="client behind", reason="the load client sent 10 of 100", remedy="ask for less")
    found = judge(GOOD, replace(GOOD, problems=(problem,)), allow_noise=True)
    assert found.verdict == "INVALID"
    assert found.reason == "client-b: the load client sent 10 of 100"


def test_noise_on_a_client_may_be_allowed() -> None:
    problem = Problem(kind="schedule lag", reason="late", remedy="stop what else runs")
    assert judge(GOOD, replace(GOOD, problems=(problem,))).verdict == "INVALID"
    allowed = judge(GOOD, replace(GOOD, problems=(problem,)), allow_noise=True)
    assert allowed.verdict == "PASS"
    assert "client-b: late; stop what else runs" in allowed.warnings


def test_clients_that_did_not_send_together_make_it_invalid() -> None:
    assert judge(GOOD, replace(GOOD, late_s=0.49)).verdict == "PASS"
    found = judge(GOOD, replace(GOOD, late_s=0.6), allow_noise=True)
    assert found.verdict == "INVALID"
    assert found.reason is not None
    assert "the last to begin was client-b" in found.reason
    assert [problem.kind for problem in found.problems] == ["overlap"]


def test_clients_whose_clocks_are_not_known_well_enough_did_not_surely_send_together() -> None:
    assert judge(GOOD, replace(GOOD, clock_within_s=1.0)).verdict == "INVALID"


def test_a_client_that_is_farther_away_is_named_with_the_distance() -> None:
    far = part_of(made_run(around(5.0)))
    found = judge(GOOD, GOOD, far, allow_noise=True)
    assert found.verdict == "INVALID"
    assert found.reason is not None
    assert found.reason.startswith("client-c is 3.99 ms farther away")
    assert "farther away than the others: its p50 is 4.99 ms, theirs 998 us" in found.reason
    assert "2 ms are allowed, a tenth of the limit" in found.reason


def test_of_two_clients_it_is_the_farther_one() -> None:
    far = part_of(made_run(around(5.0)))
    for parts in ((GOOD, far), (far, GOOD)):
        found = judge(*parts)
        assert found.reason is not None
        assert found.reason.startswith(f"client-{'b' if parts[1] is far else 'a'} is 3.99 ms")


def test_a_client_that_is_nearer_than_all_others_is_named_too() -> None:
    far = part_of(made_run(around(5.0)))
    found = judge(far, GOOD, far)
    assert found.reason is not None
    assert found.reason.startswith("client-b is 3.99 ms")
    assert "nearer than the others" in found.reason


def test_a_distance_within_a_tenth_of_the_limit_is_allowed() -> None:
    assert judge(GOOD, part_of(made_run(around(2.5)))).verdict == "PASS"
    assert judge(GOOD, part_of(made_run(around(2.5))), p95_ms=10).verdict == "INVALID"


def test_without_a_limit_the_merged_p95_stands_in_and_no_less_than_four_milliseconds() -> None:
    assert judge(GOOD, part_of(made_run(around(1.35))), p95_ms=None).verdict == "PASS"
    assert judge(GOOD, part_of(made_run(around(1.6))), p95_ms=None).verdict == "INVALID"
    slow, slower = part_of(made_run(around(100.0))), part_of(made_run(around(106.0)))
    assert judge(slow, slower, p95_ms=None).verdict == "PASS"


def test_a_difference_that_may_be_chance_is_none() -> None:
    few = part_of(made_run(around(1.0, 30)))
    wide = replace(few, summary=replace(few.summary, latency_ms={**few.summary.latency_ms, "p50": 9.0}))
    unsure = replace(wide, summary=replace(wide.summary, latency_ms_ci95={"p50": (0.5, 12.0)}))
    assert [problem.kind for problem in judge(GOOD, unsure).problems] == []
    assert [problem.kind for problem in judge(GOOD, wide).problems] == ["distance"]


def test_clients_that_the_endpoint_speaks_differently_to_make_it_invalid() -> None:
    found = judge(GOOD, replace(GOOD, protocol="sagemaker-csv"))
    assert found.verdict == "INVALID"
    assert found.reason is not None
    assert "json to client-a" in found.reason
    assert "sagemaker-csv to client-b" in found.reason


def test_an_endpoint_that_does_not_keep_up_fails_and_is_not_blamed_on_the_clients() -> None:
    gave_up = replace(GOOD, backlog=True, ended_s=GOOD.began_s + 3)
    found = judge(GOOD, gave_up)
    assert found.verdict == "FAIL"
    assert found.reason is not None
    assert found.reason.startswith("saturated")


def test_failed_requests_fail_a_load_without_limits() -> None:
    broken = part_of(made_run(around(1.0), failed=100))
    assert judge(broken, GOOD, p95_ms=None).verdict == "FAIL"


def test_a_remark_of_all_clients_is_said_once_and_that_of_one_with_its_host() -> None:
    all_of_them, one = replace(GOOD, warnings=("synthetic",)), replace(GOOD, warnings=("synthetic", "shared CPU"))
    warnings = judge(all_of_them, one).warnings
    assert warnings == ("synthetic", "client-b: shared CPU")


def test_the_document_has_each_clients_own_figures_beside() -> None:
    document = judge(GOOD, "gone").to_dict()
    assert document["verdict"] == "INVALID"
    first, second = document["clients"]
    assert first["summary"]["latency_ms"]["p50"] == pytest.approx(1.0, rel=0.05)
    assert sum(first["seconds"]["answered"]) == pytest.approx(2000, abs=1)
    assert second == {"host": "client-b", "rate_per_s": 200, "lost": "gone"}
    assert judge("gone").to_dict()["latency_ms"] == {}
