"""Histograms and sums in the place of samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.search.fleet.load.made_parts import around, made_run

from servefit.profiler.record.storage.histogram import Histogram
from servefit.search.fleet.load.merging import ResponseTimes
from servefit.search.fleet.load.recording import BLOCKS, blocks_of, late_s, seconds_of


def test_blocks_hold_every_request_that_was_due_once() -> None:
    run = made_run(around(2.0, 1003), failed=7)
    blocks = blocks_of(run)
    assert len(blocks) == BLOCKS
    together = ResponseTimes.of(blocks)
    assert (together.histogram.total, together.unanswered) == (1003, 7)
    assert np.array_equal(together.histogram.counts, Histogram.of(around(2.0, 1003)).counts)
    assert all(90 <= ResponseTimes.of([block]).total <= 110 for block in blocks)


def test_seconds_count_what_was_due_answered_and_failed_in_them() -> None:
    seconds = seconds_of(made_run([600_000_000] * 4, duration_s=2.5, failed=1))
    assert seconds.due == (2, 2, 1)
    assert seconds.answered == (1, 2, 1)
    assert seconds.failed == (0, 0, 1)
    assert seconds.response_ns == (600_000_000, 1_200_000_000, 600_000_000)


def test_answers_after_the_end_are_no_throughput_and_yet_have_a_response_time() -> None:
    run = made_run([5_000_000_000] * 10, duration_s=1.0)
    assert sum(seconds_of(run).answered) == 0
    assert ResponseTimes.of(blocks_of(run)).percentile_ms("p50") == pytest.approx(5000, rel=0.001)


def test_the_lateness_of_a_run_is_that_of_its_first_request() -> None:
    run = made_run(around(1.0, 10))
    assert late_s(run) == 0
    samples = replace(run.samples, started=(run.samples.scheduled_ns() + 250_000_000).tobytes())
    assert late_s(replace(run, samples=samples)) == 0.25
    assert late_s(made_run([])) == 0
