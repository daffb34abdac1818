"""The page on verdicts says the numbers that the code decides by, and knows all that decides."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from servefit.profiler.evidence import backlog, rare_disturbances, run_verdict, sequential_test, time_to_spare, verdict

PAGE = " ".join((Path(__file__).parents[2] / "docs/verdicts.md").read_text().split())


@pytest.mark.parametrize(
    "sentence",
    [
        f"which breaks it is rejected at the level of {100 * sequential_test.PASS_LEVEL:g} %",
        f"which keeps it is rejected at {100 * sequential_test.FAIL_LEVEL:g} %",
        f"`PASS` takes a probability of {100 * sequential_test.PASS_LEVEL:g} % at most",
        f"shows them with a probability of {50 * sequential_test.FAIL_LEVEL:g} % at most",
        f"an e-process of {2 / sequential_test.FAIL_LEVEL:g}",
        f"The run is cut into {sequential_test.BLOCKS} blocks",
        f"to the power of {sequential_test._NEARNESS}",
        f"A run that is worth {sequential_test._KNOWN_FROM} independent values",
        f"busy for {100 * time_to_spare.UNHURRIED:g} % of the time or more",
        f"has to take {sequential_test.GROWTH_SEEN} times the limit",
        f"fewer than {time_to_spare.MIN_TO_KNOW_HALF_IDLE} requests",
        f"up to {['five'][round(sequential_test.MAX_TRAFFIC_S / 60) - 5]} minutes",
        f"at most {100 * backlog.MAX_WAITING:g} % of what was due wait",
        f"{verdict.PREDICTION_MARGIN:g} times the percentile is below the limit",
        f"the percentile is above {verdict.PREDICTION_MARGIN:g} times the limit",
        f"{100 * verdict.MAX_FAILED:g} % of them at most",
        f"from {verdict._MIN_CALLS} calls on",
        f"the limit is {verdict._FAR:g} times the highest percentile",
        f"a limit on p{verdict._RARE:g} or a higher percentile",
        f"less than {rare_disturbances.LONG_S:g} s of traffic",
    ],
)
def test_a_number_of_the_page_is_that_of_the_code(sentence: str) -> None:
    assert sentence in PAGE


def test_what_decides_is_in_the_table_of_the_module() -> None:
    table = inspect.getdoc(verdict) or ""
    for function in (
        verdict.judge,
        verdict.judge_rate,
        verdict.judge_prediction,
        verdict.failures,
        verdict.combined_verdict,
    ):
        assert f":func:`{function.__name__}`" in table
    for module in (sequential_test, run_verdict, backlog):
        assert f"``{module.__name__.rpartition('.')[2]}``" in table
