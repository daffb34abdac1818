import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.search.request.sla import Sla, parse_sla


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p95=100ms", [("p95", 100.0)]),
        ("P99=0.5s", [("p99", 500.0)]),
        ("p50<=250us", [("p50", 0.25)]),
        ("p50=1ms, p99=20ms", [("p50", 1.0), ("p99", 20.0)]),
        ("p99.90=1s", [("p99.9", 1000.0)]),
    ],
)
def test_an_sla_is_read_as_people_type_it(text: str, expected: list[tuple[str, float]]) -> None:
    found = parse_sla(text)
    assert [one.percentile for one in found] == [percentile for percentile, _ in expected]
    assert [one.limit_ms for one in found] == pytest.approx([limit_ms for _, limit_ms in expected])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p95",
        "p95=",
        "95=100ms",
        "p95=fast",
        "p95=0ms",
        "p95=-1ms",
        "p95=nanms",
        "p100=1ms",
        "p0=1ms",
        "mean=1ms",
        "p95=5",
        ",",
    ],
)
def test_an_sla_that_does_not_parse_is_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_sla(text)
    assert caught.value.field == "sla"


@pytest.mark.parametrize("limit", ["0ms", "quick", "-5ms"])
def test_a_limit_that_is_none_is_named_with_its_percentile_and_one_that_would_do(limit: str) -> None:
    with pytest.raises(SpecError, match=rf"sla: 'p95={limit}' is not .*; give a limit such as p95=100ms"):
        parse_sla(f"p95={limit}, p99=2s")


def test_a_limit_without_a_unit_is_answered_with_those_that_it_may_have() -> None:
    with pytest.raises(SpecError, match="has no unit; say 5ms, 5s or 5m"):
        parse_sla("p95=5")


@given(st.text(max_size=20))
def test_any_text_is_an_sla_or_refused(text: str) -> None:
    try:
        thresholds = parse_sla(text)
    except SpecError:
        return
    assert all(threshold.limit_ms > 0 for threshold in thresholds)


def test_a_percentile_limited_twice_is_refused() -> None:
    limits = (LatencyThreshold(percentile="p95", limit_ms=1), LatencyThreshold(percentile="p95", limit_ms=2))
    with pytest.raises(SpecError, match="limited twice"):
        Sla(thresholds=limits)


@pytest.mark.parametrize(("lower", "higher"), [(("p50", 20.0), ("p99", 10.0)), (("p99", 2.0), ("p99.9", 1.0))])
def test_limits_that_contradict_each_other_are_refused_and_both_are_named(
    lower: tuple[str, float], higher: tuple[str, float]
) -> None:
    limits = [LatencyThreshold(percentile=name, limit_ms=limit_ms) for name, limit_ms in (lower, higher)]
    for thresholds in (limits, limits[::-1]):
        with pytest.raises(SpecError) as caught:
            Sla(thresholds=tuple(thresholds))
        assert all(str(limit) in str(caught.value) for limit in limits)


def test_the_same_limit_on_two_percentiles_is_no_contradiction() -> None:
    limits = tuple(LatencyThreshold(percentile=name, limit_ms=5.0) for name in ("p99", "p50"))
    assert Sla(thresholds=limits).thresholds == limits


@pytest.mark.parametrize("rate_per_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_rate_that_is_none_is_refused(rate_per_s: float) -> None:
    with pytest.raises(SpecError) as caught:
        Sla(rate_per_s=rate_per_s)
    assert caught.value.field == "rate"


@pytest.mark.parametrize("limit_ms", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_of_zero_is_refused(limit_ms: float) -> None:
    with pytest.raises(SpecError) as caught:
        LatencyThreshold(percentile="p95", limit_ms=limit_ms)
    assert caught.value.field == "sla"


def test_an_sla_says_what_it_asks() -> None:
    sla = Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=100),), rate_per_s=500)
    assert str(sla) == "p95 <= 100 ms at 500 requests/s"
    assert not sla.asks_nothing
    assert Sla().asks_nothing
