"""Counters in memory that workers share, and what is shown of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.serving.conftest import described

from servefit.serving.counters import Counters
from servefit.serving.messages import LATENCY_BOUNDS_NS
from servefit.serving.metrics import Metrics

View = Callable[[], Counters]
US = 1000


@pytest.fixture
def view() -> Iterator[View]:
    """The counters of three workers, as one more process sees them."""
    memory = os.memfd_create("counters")
    yield lambda: Counters(memory, workers=3, max_batch=4)
    os.close(memory)


def test_what_workers_count_is_added_up_by_any_of_them(view: View) -> None:
    first, second, third = view(), view(), view()
    first.of_worker(0).called(5, [1 * US, 2 * US], taken_ns=40 * US, ended_ns=1)
    second.of_worker(2).called(1, [0], taken_ns=30 * US, ended_ns=1)
    second.of_worker(2).replied(200)
    first.of_worker(0).replied(503)
    first.of_worker(0).replied(599)
    first.of_worker(0).replied(451)
    first.of_worker(1).rejected()
    first.of_worker(1).failed(3)
    counts = third.total()
    assert (counts.requests, counts.rows, counts.calls) == (3, 6, 2)
    assert (counts.queued_ns, counts.predicting_ns, counts.calling_ns) == (3 * US, 110 * US, 70 * US)
    assert counts.batches == ((1, 1, 30 * US), (2, 1, 40 * US))
    assert counts.replies == {200: 1, 400: 1, 500: 1, 503: 1}
    assert (counts.rejected, counts.failed) == (1, 3)


def test_a_latency_is_counted_below_the_bound_that_it_reaches(view: View) -> None:
    counters = view()
    worker = counters.of_worker(0)
    worker.called(1, [LATENCY_BOUNDS_NS[0] - 10], taken_ns=10, ended_ns=1)
    worker.called(1, [LATENCY_BOUNDS_NS[0]], taken_ns=10, ended_ns=1)
    worker.called(1, [10**12], taken_ns=10, ended_ns=1)
    buckets = counters.total().latency_buckets
    assert (buckets[0], buckets[1], buckets[-1], sum(buckets)) == (1, 1, 1, 3)
    assert len(buckets) == len(LATENCY_BOUNDS_NS) + 1


def test_a_worker_that_takes_a_dead_one_s_place_goes_on_counting(view: View) -> None:
    counters = view()
    dead = counters.of_worker(1)
    dead.begin()
    dead.called(1, [0], taken_ns=10, ended_ns=1)
    for _ in range(4):
        dead.opened_connection()
    dead.closed_connection()
    dead.waiting(7)
    assert (counters.total().connections, counters.queued(), dead.closed) == (3, 7, 1)
    dead.end(handed_over=5)
    assert (counters.total().connections, counters.queued(), dead.closed) == (0, 0, 5)
    assert counters.pids() == (0, 0, 0)
    again = counters.of_worker(1)
    again.begin()
    again.called(1, [0], taken_ns=10, ended_ns=1)
    assert counters.total().requests == 2
    assert counters.pids() == (0, os.getpid(), 0)


def test_prometheus_reads_what_is_shown(view: View) -> None:
    counters = view()
    counters.set_workers(ready=3, restarts=1)
    counters.of_worker(0).begin()
    for taken_us in (40, 150, 4000):
        counters.of_worker(0).called(2, [1 * US, 0], taken_ns=taken_us * US, ended_ns=1)
        counters.of_worker(0).replied(200)
    reply = Metrics(described({}, {}), counters).reply()
    assert reply.content_type.startswith(b"text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(reply.body.decode())}
    assert all(family.documentation for family in families.values())
    assert families["servefit_replies"].samples[0].labels == {"status": "200"}
    assert families["servefit_endpoint_info"].samples[0].labels["backend"] == "obedient"
    assert families["servefit_workers"].samples[0].value == 3
    assert families["servefit_worker_restarts"].samples[0].value == 1
    assert families["servefit_rows"].samples[0].value == 6
    assert families["servefit_worker_resident_memory_bytes"].samples[0].value > 2**20
    latency = families["servefit_model_latency_seconds"]
    buckets = {sample.labels["le"]: sample.value for sample in latency.samples if sample.name.endswith("_bucket")}
    assert (buckets["5e-05"], buckets["0.0002"], buckets["0.005"], buckets["+Inf"]) == (2, 4, 6, 6)
    assert list(buckets.values()) == sorted(buckets.values())
    values = {sample.name: sample.value for sample in latency.samples}
    assert values["servefit_model_latency_seconds_count"] == 6
    assert values["servefit_model_latency_seconds_sum"] == pytest.approx((2 * 4190 + 3) * 1e-6)
