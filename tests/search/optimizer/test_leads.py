"""How likely one configuration is to be better than another, by the rounds of both."""

from __future__ import annotations

from math import log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.search.optimizer.leads import CAPACITY_SD, LATENCY_SD, Lead, student_cdf, usual_sd
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla


@pytest.mark.parametrize(
    ("degrees", "value"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (10, 2.228), (30, 2.042)]
)
def test_students_distribution_is_that_of_the_tables(degrees: int, value: float) -> None:
    assert student_cdf(value, degrees) == pytest.approx(0.975, abs=2e-5)
    assert student_cdf(-value, degrees) == pytest.approx(0.025, abs=2e-5)


@given(st.floats(-1e6, 1e6), st.integers(1, 60))
def test_probabilities_are_symmetrical_and_rise(value: float, degrees: int) -> None:
    found = student_cdf(value, degrees)
    assert 0 <= found <= 1
    assert found + student_cdf(-value, degrees) == pytest.approx(1, abs=1e-9)
    assert found <= student_cdf(value + 1, degrees) + 1e-12


def test_two_rounds_that_happen_to_agree_do_not_show_that_there_is_no_noise() -> None:
    lead = Lead.of_rounds([0.02, 0.02], usual_sd=0.04)
    assert 0.2 < lead.chance_behind() < 0.4


def test_more_rounds_make_it_surer() -> None:
    chances = [Lead.of_rounds([0.02] * rounds, usual_sd=0.04).chance_behind() for rounds in (1, 3, 10)]
    assert chances == sorted(chances, reverse=True)


def test_a_rival_is_rarely_wrongly_held_to_be_no_better() -> None:
    random, wrong, plays = Random(1), 0, 2000
    for _ in range(plays):
        # The rival is better by 5 %.
        rounds = [random.gauss(-log(1.05), 0.04) for _ in range(3)]
        wrong += Lead.of_rounds(rounds, usual_sd=0.04).chance_behind(0.05) < 0.05
    assert wrong / plays < 0.06


def test_p95_scatters_more_than_capacity() -> None:
    at_rate = Sla(rate_per_s=100.0)
    assert usual_sd(JobRequest(name="job", goal="throughput")) == CAPACITY_SD
    assert usual_sd(JobRequest(name="job", goal="latency", sla=at_rate)) == LATENCY_SD
    assert usual_sd(JobRequest(name="job", sla=at_rate)) == LATENCY_SD
