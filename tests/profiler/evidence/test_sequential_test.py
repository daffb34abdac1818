"""Verdicts on limits. How often they are wrong in queues is measured by benchmarks/claims/verdicts.py; here are short
versions of the same, and what must hold always."""

from __future__ import annotations

from math import comb, exp, fsum, inf, isinf, lgamma, log, log1p, nan
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import bdtr, betainc, betaincc, erfc, ndtri, stdtrit
from tests.example_counts import examples

from servefit.errors import SpecError
from servefit.profiler.evidence.autocorrelation import autocorrelation_time
from servefit.profiler.evidence.sequential_test import (
    PASS_LEVEL,
    Evidence,
    SequentialTest,
    least_to_pass,
    log_e_fail,
    p_of_so_few,
)
from servefit.profiler.evidence.verdict import combined_verdict

if TYPE_CHECKING:
    from servefit.profiler.evidence.limits import Verdict

LIMIT_NS = 1_000_000.0
MEAN_NS = LIMIT_NS / log(20)  # exponential with this mean, 5 % are above the limit


def a_test(percentile: float = 95) -> SequentialTest:
    return SequentialTest(percentile=percentile, limit_ns=LIMIT_NS)


def look_every(step: int, response_ns: np.ndarray, percentile: float = 95) -> Evidence:
    """Look as at a run that ends as soon as it surely fails, and conclude."""
    test, samples = a_test(percentile), 0
    for samples in range(step, len(response_ns) + 1, step):
        if test.surely_fails(response_ns[:samples]):
            break
    return test.conclude(response_ns[:samples])


def concluded(response_ns: np.ndarray, percentile: float = 95) -> Evidence:
    return a_test(percentile).conclude(response_ns)


def independent(violations: float, samples: int, seed: int) -> np.ndarray:
    """Exponential response times of which this share lies above the limit."""
    return np.random.default_rng(seed).exponential(LIMIT_NS / -log(violations), samples)


def single_server(utilisation: float, samples: int, seed: int) -> np.ndarray:
    """Response times of M/M/1 that has settled, of which the 95th percentile is the limit."""
    settle = 3000
    random = np.random.default_rng(seed)
    arrived = np.cumsum(random.exponential(1 / utilisation, settle + samples))
    services = random.exponential(1, settle + samples)
    worked = np.cumsum(services)
    response: np.ndarray = worked + np.maximum.accumulate(arrived - worked + services) - arrived
    return response[settle:] * MEAN_NS * (1 - utilisation)


def share_of(verdict: Verdict, found: list[Evidence]) -> float:
    return [evidence.verdict for evidence in found].count(verdict) / len(found)


def test_a_run_without_violations_passes_with_few_more_samples_than_the_percentile_takes() -> None:
    assert share_of("PASS", [concluded(independent(1e-9, 200, seed)) for seed in range(60)]) >= 0.9
    assert share_of("PASS", [concluded(independent(1e-9, 400, seed)) for seed in range(60)]) == 1


def test_no_verdict_comes_before_the_percentile_has_its_samples() -> None:
    fast = np.ones(458)
    assert concluded(fast, 99).verdict == "UNDECIDED"
    assert concluded(3 * LIMIT_NS * fast, 99).verdict == "UNDECIDED"
    assert concluded(np.ones(79), 90).verdict == "UNDECIDED"


def test_before_there_are_enough_samples_no_evidence_is_drawn() -> None:
    found = concluded(np.full(89, 2 * LIMIT_NS))
    assert (found.samples, found.violations) == (89, 89)
    assert found.burst is None
    assert (found.p_pass, found.log_e_fail) == (1, 0)


def test_requests_close_to_the_limit_tell_less_in_one_stretch_than_spread_over_the_run() -> None:
    spread, together = np.zeros(2000), np.zeros(2000)
    spread[::20] = together[700:800] = 0.4 * LIMIT_NS
    assert concluded(spread).verdict == "PASS"
    found = concluded(together)
    assert (found.verdict, found.violations) == ("UNDECIDED", 0)


def test_twice_as_many_violations_as_allowed_fail() -> None:
    found = [look_every(20, independent(0.1, 2000, seed)) for seed in range(60)]
    assert share_of("FAIL", found) >= 0.95
    assert np.median([evidence.samples for evidence in found]) <= 500


def test_a_fifth_of_the_violations_allowed_pass() -> None:
    assert share_of("PASS", [look_every(20, independent(0.01, 600, seed)) for seed in range(60)]) >= 0.9
    assert share_of("PASS", [look_every(20, independent(0.01, 2000, seed)) for seed in range(60)]) >= 0.95


def test_a_queue_that_only_grows_fails() -> None:
    assert look_every(50, np.linspace(0.5 * LIMIT_NS, 100 * LIMIT_NS, 1000)).verdict == "FAIL"


def test_what_is_one_burst_from_half_of_the_run_on_is_too_little_to_decide_by() -> None:
    found = concluded(np.linspace(0, 2 * LIMIT_NS, 1000))
    assert (found.verdict, found.violations) == ("UNDECIDED", 500)
    assert found.burst is not None
    assert found.burst > 100


def test_equal_response_times_are_decided_as_independent_ones() -> None:
    found = concluded(np.full(200, 0.1))
    assert (found.verdict, found.burst) == ("PASS", 1)
    assert concluded(np.full(200, 2 * LIMIT_NS)).verdict == "FAIL"


@pytest.mark.parametrize("utilisation", [0.5, 0.7, 0.9])
def test_in_a_queue_at_the_boundary_few_verdicts_are_wrong(utilisation: float) -> None:
    found = [look_every(1000, single_server(utilisation, 20_000, seed)) for seed in range(60)]
    # 5 % of 60 are 3; 7 or more by chance would come once in 30 times if it were 5 %.
    assert share_of("PASS", found) <= 6 / 60
    assert share_of("FAIL", found) <= 6 / 60


@pytest.mark.parametrize("nearest", [0.6, 0.75, 0.9])
def test_how_much_longer_it_takes_to_know_a_server_close_to_its_limit_is_by_the_blocks_of_closeness(
    nearest: float,
) -> None:
    """One block of 20 comes near; none is slow."""
    response_ns = np.full(2000, 0.1 * LIMIT_NS)
    response_ns[1000:1100] = nearest * LIMIT_NS
    shares = np.full(20, 0.1**4)
    shares[10] = nearest**4
    close = np.repeat(shares, 100)
    quantile = float(stdtrit(19, 0.95))
    raised = (quantile / float(ndtri(0.95))) ** 2
    independent = max(2.0, 2000 / (1 + raised * (autocorrelation_time(close, batches=20) - 1)))
    most = shares.mean() + quantile * shares.std(ddof=1) / 20**0.5
    expected = 40 / independent * min(1.0, most / 0.05)
    assert expected > 1.25
    assert concluded(response_ns).decided_by == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize(("burst", "one"), [(40.0, False), (50.0, True), (60.0, True)])
def test_requests_that_count_as_two_at_most_are_one_burst(burst: float, one: bool) -> None:
    evidence = Evidence(
        verdict="UNDECIDED",
        samples=100,
        violations=9,
        burst=burst,
        p_pass=1.0,
        p_fail=1.0,
        log_e_fail=0.0,
        decided_by=inf,
    )
    assert ("one burst decides nothing" in evidence.missing_text(20.0)) is one


@pytest.mark.parametrize(("percentile", "chances", "least"), [(90, 1, 80), (95, 1, 90), (99, 1, 459), (95, 4, 96)])
def test_so_many_requests_within_the_limit_are_the_fewest_that_pass(
    percentile: float, chances: int, least: int
) -> None:
    assert least_to_pass(percentile, chances=chances) == least
    assert least_to_pass(percentile) == least_to_pass(percentile, chances=1)

    def verdict(requests: int) -> str:
        test = SequentialTest(percentile=percentile, limit_ns=LIMIT_NS, level_pass=PASS_LEVEL / chances)
        return test.conclude(np.full(requests, 0.1)).verdict

    assert (verdict(least), verdict(least - 1)) == ("PASS", "UNDECIDED")


def test_a_fail_is_final() -> None:
    test, slow = a_test(), np.full(300, 2 * LIMIT_NS)
    assert test.surely_fails(slow)
    assert test.surely_fails(np.concatenate([slow, np.ones(10_000)]))
    assert test.conclude(np.concatenate([slow, np.ones(10_000)])).samples == 300


def test_what_looks_like_a_pass_is_none_if_more_of_the_run_says_otherwise() -> None:
    test, fast = a_test(), np.ones(300)
    assert not test.surely_fails(fast)
    assert concluded(fast).verdict == "PASS"
    assert test.conclude(np.concatenate([fast, np.full(1000, 9 * LIMIT_NS)])).verdict != "PASS"


def test_the_same_requests_give_the_same_evidence_however_often_they_are_looked_at() -> None:
    response_ns = independent(0.05, 1000, seed=3)
    assert look_every(10, response_ns) == concluded(response_ns)


def test_integers_and_floats_give_the_same_verdict() -> None:
    response_ns = independent(0.1, 600, seed=4).round()
    assert concluded(response_ns) == concluded(response_ns.astype(np.int64))


def test_one_fail_decides_and_a_pass_takes_all() -> None:
    assert combined_verdict(["PASS", "FAIL", "UNDECIDED"]) == "FAIL"
    assert combined_verdict(["PASS", "UNDECIDED"]) == "UNDECIDED"
    assert combined_verdict(["PASS", "PASS"]) == "PASS"


def test_requests_that_take_just_as_long_as_the_limit_keep_it() -> None:
    found = concluded(np.full(200, LIMIT_NS))
    assert (found.verdict, found.violations) == ("PASS", 0)


def test_requests_that_take_no_time_are_requests_and_no_requests_are_no_evidence() -> None:
    assert concluded(np.zeros(200)).verdict == "PASS"
    nothing = concluded(np.array([]))
    assert (nothing.verdict, nothing.samples, nothing.burst) == ("UNDECIDED", 0, None)


@pytest.mark.parametrize(("samples", "violations", "log_e"), [(300, 30, 4.017180), (2000, 140, 4.847924)])
def test_the_evidence_for_a_fail_is_as_strong_as_it_always_was(samples: int, violations: int, log_e: float) -> None:
    """Any mixture of rates keeps to the error rate; verdicts that are stored rest on this one."""
    assert log_e_fail(samples, violations, 0.05) == pytest.approx(log_e, abs=1e-5)


@pytest.mark.parametrize("boundary", [0.01, 0.05, 0.5])
def test_the_expected_e_value_at_the_boundary_is_one(boundary: float) -> None:
    samples = 60
    counts = np.arange(samples + 1)
    chances = [comb(samples, k) * boundary**k * (1 - boundary) ** (samples - k) for k in counts.tolist()]
    assert np.exp(log_e_fail(samples, counts, boundary)) @ np.array(chances) == pytest.approx(1)


@given(extra=st.floats(0, 0.9))
def test_the_expected_e_value_is_at_most_one_on_the_whole_side_that_it_speaks_against(extra: float) -> None:
    samples, boundary = 60, 0.05
    rate, counts = boundary * (1 - extra), np.arange(samples + 1)
    chances = [comb(samples, k) * rate**k * (1 - rate) ** (samples - k) for k in counts.tolist()]
    assert float(np.exp(log_e_fail(samples, counts, boundary)) @ np.array(chances)) <= 1 + 1e-9


def test_independent_requests_at_the_boundary_rarely_cross_the_threshold_however_often_one_looks() -> None:
    runs, longest, boundary = 2000, 500, 0.05
    counts = np.cumsum(np.random.default_rng(5).random((runs, longest)) < boundary, axis=1)
    samples = np.arange(1, longest + 1)
    crossed = np.column_stack([log_e_fail(samples, np.full(longest, k), boundary) for k in range(counts.max() + 1)])
    ever = (crossed >= log(20))[samples - 1, counts].any(axis=1)
    assert 0 < ever.mean() <= 0.05


@given(samples=st.integers(1, 3000), data=st.data(), boundary=st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.5]))
def test_the_probability_of_so_few_is_that_of_the_binomial_distribution(
    samples: int, data: st.DataObject, boundary: float
) -> None:
    violations = data.draw(st.integers(0, int(boundary * samples)))
    expected = fsum(
        exp(
            lgamma(samples + 1)
            - lgamma(k + 1)
            - lgamma(samples - k + 1)
            + k * log(boundary)
            + (samples - k) * log1p(-boundary)
        )
        for k in range(violations + 1)
    )
    found = p_of_so_few(samples, violations, boundary)
    assert found == pytest.approx(expected, rel=5e-3, abs=1e-12) or (found == 1 and expected > 0.4)


@pytest.mark.parametrize(
    ("samples", "violations", "boundary"),
    [
        (3000, 1450, 0.5),
        (3000, 1490, 0.5),
        (3000, 140, 0.05),
        (200, 1, 0.05),
        (5000, 30, 0.01),
        (60, 0, 0.05),
        (10, 1, 0.5),
    ],
)
def test_the_probability_of_so_few_is_within_half_a_per_cent(samples: int, violations: int, boundary: float) -> None:
    expected = float(bdtr(violations, samples, boundary))
    assert p_of_so_few(samples, violations, boundary) == pytest.approx(expected, rel=5e-3)


def test_as_many_as_are_expected_are_not_few_and_neither_is_one_that_is_met() -> None:
    assert p_of_so_few(100, 4.99, 0.05) < 1
    assert p_of_so_few(100, 5, 0.05) == 1
    assert p_of_so_few(2, 1, 0.6) == 1
    assert p_of_so_few(2.1, 1, 0.6) < 1


@given(samples=st.integers(2, 5000), data=st.data(), boundary=st.sampled_from([0.01, 0.05, 0.1]))
def test_a_further_violation_speaks_for_fail_and_against_pass(
    samples: int, data: st.DataObject, boundary: float
) -> None:
    violations = data.draw(st.integers(0, samples - 2))
    assert log_e_fail(samples, violations + 1, boundary) > log_e_fail(samples, violations, boundary)
    more, fewer = (p_of_so_few(samples, each, boundary) for each in (violations + 1, violations))
    assert more > fewer or more == 1


@pytest.mark.parametrize("persistence", [0.0, 0.5, 0.9])
def test_the_autocorrelation_time_of_a_known_series_is_found(persistence: float) -> None:
    random = np.random.default_rng(6)
    found = []
    for _ in range(20):
        noise, series = random.normal(size=20_000), np.zeros(20_000)
        for place in range(1, len(series)):
            series[place] = persistence * series[place - 1] + noise[place]
        found.append(autocorrelation_time(series))
    # Of a first-order autoregressive series.
    assert np.mean(found) == pytest.approx((1 + persistence) / (1 - persistence), rel=0.15)


def test_a_random_walk_has_a_long_autocorrelation_time_whatever_its_length() -> None:
    walk = np.cumsum(np.random.default_rng(7).normal(size=4000))
    assert autocorrelation_time(walk[:400]) > 20
    assert autocorrelation_time(walk) > 200


@given(scale=st.floats(1e-3, 1e9), offset=st.floats(0, 1e9))
@settings(max_examples=30)
def test_the_autocorrelation_time_knows_no_unit(scale: float, offset: float) -> None:
    series = np.random.default_rng(8).exponential(size=500)
    moved = offset * scale + series * scale
    # An offset of a billion leaves 7 digits of the series.
    assert autocorrelation_time(moved) == pytest.approx(autocorrelation_time(series), rel=1e-3)


def test_too_few_values_for_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="79 values are too few, 80 are needed"):
        autocorrelation_time(np.ones(79))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"percentile": 0}, "percentile"),
        ({"percentile": 100}, "percentile"),
        ({"percentile": nan}, "percentile"),
        ({"limit_ns": 0}, "limit"),
        ({"limit_ns": inf}, "limit"),
        ({"limit_ns": nan}, "limit"),
        ({"level_pass": 0}, "level"),
        ({"level_pass": 1}, "level"),
        ({"level_fail": 0}, "level"),
        ({"level_fail": 1}, "level"),
    ],
)
def test_a_test_that_makes_no_sense_is_refused(changed: dict[str, float], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        SequentialTest(**{"percentile": 95, "limit_ns": LIMIT_NS, **changed})
    assert caught.value.field == field


def test_a_percentile_may_be_any_between_0_and_100() -> None:
    assert concluded(np.ones(100), 0.5).verdict == "PASS"
    assert concluded(np.ones(100), 99.5).verdict == "UNDECIDED"


@pytest.mark.parametrize("wrong", [nan, inf, -0.5])
def test_a_response_time_that_is_none_is_refused(wrong: float) -> None:
    response_ns = np.ones(100)
    response_ns[50] = wrong
    with pytest.raises(ValueError, match="negative or not a finite number"):
        concluded(response_ns)


def test_response_times_that_do_not_continue_the_last_ones_are_refused() -> None:
    test = a_test()
    test.surely_fails(independent(0.05, 100, seed=9))
    with pytest.raises(ValueError, match="90 response times, after 100 last time"):
        test.conclude(independent(0.05, 90, seed=9))
    with pytest.raises(ValueError, match="shape"):
        test.surely_fails(np.ones((100, 2)))


def pausing(
    samples: int, seed: int, *, pause_ms: float = 200, every_s: float = 3, rate_per_s: float = 300
) -> np.ndarray:
    """Response times in ms of a server that pauses for so long at random times, and answers at once otherwise."""
    random = np.random.default_rng(seed)
    due_s = np.sort(random.uniform(0, samples / rate_per_s, samples))
    ends_s = np.cumsum(random.exponential(every_s, 3 + int(3 * samples / rate_per_s / every_s)))
    next_end = ends_s[np.searchsorted(ends_s, due_s)]
    left_ms = pause_ms - 1000 * (next_end - due_s)
    response_ms: np.ndarray = np.where((left_ms > 0) & (left_ms < pause_ms), pause_ms - left_ms, 1.0)
    return response_ms


def decided(response_ms: np.ndarray, limit_ms: float) -> Evidence:
    return SequentialTest(percentile=95, limit_ns=limit_ms).conclude(response_ms)


def test_a_server_that_pauses_and_never_comes_near_the_limit_passes_after_20_s() -> None:
    assert share_of("PASS", [decided(pausing(6000, seed), 400) for seed in range(40)]) == 1


def test_a_server_whose_pauses_break_the_limit_does_not_pass_after_20_s() -> None:
    """Pauses of 400 ms every 2 s make a tenth of the requests wait for more than 200 ms."""
    runs = [pausing(6000, seed, pause_ms=400, every_s=2) for seed in range(40)]
    assert 0.08 < np.mean([(run > 200).mean() for run in runs]) < 0.12
    assert share_of("PASS", [decided(run, 200) for run in runs]) <= 1 / 40


def test_violations_in_bursts_count_as_fewer_and_alone_as_they_are() -> None:
    alone, in_bursts = np.ones(6000), np.ones(6000)
    alone[::60] = 2 * LIMIT_NS
    in_bursts.reshape(10, 600)[:, :10] = 2 * LIMIT_NS
    in_bursts = np.roll(in_bursts, 17 * 37)
    for response_ns, fewest, most in ((alone, 1.0, 2.0), (in_bursts, 4.0, 40.0)):
        found = concluded(response_ns)
        assert found.violations == 100
        assert found.burst is not None
        assert fewest <= found.burst <= most


def test_a_busy_queue_that_is_only_seen_for_a_moment_close_to_the_limit_does_not_pass() -> None:
    """Its response times drift up to half of the limit and back once: what it does there is not known."""
    drift = LIMIT_NS * 0.95 * np.sin(np.linspace(0, np.pi, 400)) ** 2
    found = concluded(drift)
    assert (found.violations, found.verdict) == (0, "UNDECIDED")
    assert found.p_pass < 0.01
    assert concluded(drift / 10).verdict == "PASS"


@pytest.mark.parametrize("share", [0.02, 0.03, 0.08])
def test_a_run_that_is_undecided_says_how_many_times_its_traffic_decides(share: float) -> None:
    found = [concluded(independent(share, 300, seed)) for seed in range(60)]
    undecided = [each for each in found if each.verdict == "UNDECIDED"]
    assert len(undecided) > 5
    assert all(each.decided_by is not None and each.decided_by > 1 for each in undecided)
    assert all(each.decided_by is None for each in found if each.verdict != "UNDECIDED")
    times = float(np.median([each.decided_by for each in undecided if each.decided_by is not None]))
    assert isinf(times) or 1 < times < 60


def test_at_the_limit_no_traffic_is_said_to_decide() -> None:
    response_ns = np.ones(2000)
    response_ns[::20] = 2 * LIMIT_NS
    found = concluded(response_ns)
    assert found.violations == 100
    assert found.decided_by is not None
    assert isinf(found.decided_by)


def test_too_few_requests_say_how_many_times_as_many_the_percentile_takes() -> None:
    assert concluded(np.ones(40)).decided_by == pytest.approx(90 / 40)


@pytest.mark.parametrize(
    ("burst", "said"),
    [
        (None, ""),
        (1.5, ""),
        (2.0, ", and slow requests came together: they count as 1,230"),
        (12.9, ", and slow requests came together: they count as 190"),
        (inf, ""),
    ],
)
def test_what_makes_requests_count_as_fewer_is_told(burst: float | None, said: str) -> None:
    found = Evidence(
        verdict="UNDECIDED",
        samples=2461,
        violations=7,
        burst=burst,
        p_pass=0.068,
        p_fail=1.0,
        log_e_fail=0.0,
        decided_by=4.0,
    )
    assert found.worth_text == said


def as_one(series: np.ndarray) -> float:
    """How many values count as one, by the textbook's formulas."""
    length = len(series) // 20
    kept = series[len(series) - 20 * length :].astype(float)
    if kept.var() == 0:
        return 1.0
    unevenness = kept.reshape(20, length).mean(axis=1).var(ddof=1) / kept.var()
    values = length * unevenness / (1 - unevenness) if unevenness < 1 else inf
    return float(1 + (stdtrit(19, 0.95) / ndtri(0.95)) ** 2 * (max(1.0, values) - 1))


def probabilities(samples: float, violations: float) -> tuple[float, float]:
    """Of so few and of so many violations at the limit."""
    few = betaincc(violations + 1, samples - violations, 0.05) if violations < 0.05 * samples else 1.0
    many = betainc(violations, samples - violations + 1, 0.05) if violations > max(1, 0.05 * samples) else 1.0
    return float(few), float(many)


def is_known_close_to_the_limit(response_ns: np.ndarray) -> bool:
    near = np.minimum(1, (response_ns / LIMIT_NS) ** 4)
    seen = max(2.0, len(near) / as_one(near)) / 40
    length = len(near) // 20
    means = near[len(near) - 20 * length :].reshape(20, length).mean(axis=1)
    return bool(seen >= 1 or means.mean() + stdtrit(19, 0.95) * means.std(ddof=1) / np.sqrt(20) < 0.05 * seen)


@given(
    seed=st.integers(0, 10_000),
    samples=st.integers(90, 3000),
    share=st.sampled_from([0.0001, 0.02, 0.04, 0.07, 0.12]),
    persistence=st.sampled_from([0.0, 0.9, 0.99]),
)
@settings(max_examples=examples(60, drawn=600))
def test_the_evidence_is_that_of_the_formulas(seed: int, samples: int, share: float, persistence: float) -> None:
    """Of response times that are exponential and follow each other by an autoregressive process."""
    random, level = np.random.default_rng(seed), 0.0
    levels = []
    for shock in random.normal(size=samples).tolist():
        level = persistence * level + np.sqrt(1 - persistence**2) * shock
        levels.append(level)
    beyond = np.clip(0.5 * erfc(np.array(levels) / np.sqrt(2)), 1e-12, 1)
    response_ns = LIMIT_NS * np.log(beyond) / log(share)
    found = concluded(response_ns)
    violated = response_ns > LIMIT_NS
    assume(20 * violated.sum() != samples)  # exactly at the limit the rounding of the divisor decides
    burst = as_one(violated)
    assert found.burst == pytest.approx(burst, rel=2e-3)
    divisor = min(burst, samples / 2)
    few, many = probabilities(samples / divisor, violated.sum() / divisor)
    assert found.p_pass == pytest.approx(few, rel=0.02, abs=1e-9)
    assert found.p_fail == pytest.approx(many, rel=0.02, abs=1e-9)
    if all(abs(p / level - 1) > 0.05 for p, level in ((few, 0.03), (many, 0.01))):
        fails = many < 0.01 or found.log_e_fail >= log(100)
        passes = few < 0.03 and is_known_close_to_the_limit(response_ns)
        assert found.verdict == ("FAIL" if fails else "PASS" if passes else "UNDECIDED")
    if found.decided_by is not None and 1 < found.decided_by < inf:
        few, many = probabilities(found.decided_by * samples / divisor, found.decided_by * violated.sum() / divisor)
        assert few <= 0.0315 or many <= 0.0105
        few, many = probabilities(
            found.decided_by / 1.25 * samples / divisor, found.decided_by / 1.25 * violated.sum() / divisor
        )
        assert found.decided_by == 1.25 or few > 0.0285 or not is_known_close_to_the_limit(response_ns)


def test_a_run_that_lacks_what_happens_close_to_the_limit_says_how_much_more_it_takes() -> None:
    """Response times stay the same for 500 requests each, at up to 9.9 ms where 10 are allowed."""
    levels = np.random.default_rng(3).uniform(0.3, 0.99, 400)
    seen = {plateaus: concluded(LIMIT_NS * np.repeat(levels[:plateaus], 500)) for plateaus in (12, 24, 400)}
    assert [found.verdict for found in seen.values()] == ["UNDECIDED", "UNDECIDED", "PASS"]
    for plateaus in (12, 24):
        found = seen[plateaus]
        assert found.p_pass < 0.03
        assert found.decided_by is not None
        assert 24 < found.decided_by * plateaus < 400


def test_nothing_answered_and_one_burst_say_that_no_longer_run_is_known_to_decide() -> None:
    assert concluded(np.array([])).missing_text(20.0) == "; none that was answered counts"
    half = np.concatenate([np.ones(1000), np.full(1000, 2 * LIMIT_NS)])
    assert concluded(half).missing_text(20.0) == "; they came together, and one burst decides nothing"


def test_what_is_missing_is_up_to_five_minutes_and_rounded_up_to_ten_seconds_of_a_budget() -> None:
    found = Evidence(
        verdict="UNDECIDED", samples=100, violations=7, burst=1.0, p_pass=1, p_fail=1, log_e_fail=0, decided_by=2.1
    )
    said = "; 22 s of such traffic would decide"
    assert found.missing_text(10.2) == said
    assert found.missing_text(10.2, budget_s=20) == f"{said}: --budget 50s"
    assert found.missing_text(142.8, budget_s=20) == "; 5 min of such traffic would decide: --budget 50s"
    assert found.missing_text(143.0, budget_s=20) == "; more than 5 min of such traffic would decide"
