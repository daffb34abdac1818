"""Counters in memory that workers share, and the metrics that show them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.serving.conftest import described

from servefit.serving.counters import Counters
from servefit.serving.messages import LATENCY_BOUNDS_NS
from servefit.serving.metrics import Metrics
from servefit.version import __version__

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

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
    counters.restarted()
    counters.restarted()
    counters.hung()
    counters.of_worker(0).begin()
    counters.of_worker(0).heartbeat()
    for taken_us in (4, 40, 150, 4000):
        counters.of_worker(0).called(2, [1 * US, 0], taken_ns=taken_us * US, ended_ns=1)
        counters.of_worker(0).answered((taken_us + 12) * US)
        counters.of_worker(0).replied(200)
    reply = Metrics(described({}, {}, workers=3, max_batch=4, job="fraud/3f2a"), counters).reply()
    assert reply.content_type.startswith(b"text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(reply.body.decode())}
    assert all(family.documentation for family in families.values())
    assert families["servefit_replies"].samples[0].labels == {"status": "200"}
    (info,) = families["servefit_endpoint_info"].samples
    told = {
        "backend": "obedient",
        "workers": "3",
        "threads": "1",
        "max_batch": "4",
        "batch_delay_us": "0",
        "target": "cpu",
    }
    assert {**told, "job": "fraud/3f2a", "servefit": __version__}.items() <= info.labels.items()
    assert families["servefit_workers"].samples[0].value == 1
    assert families["servefit_worker_restarts"].samples[0].value == 2
    assert families["servefit_worker_hangs"].samples[0].value == 1
    assert families["servefit_rows"].samples[0].value == 8
    assert families["servefit_worker_resident_memory_bytes"].samples[0].value > 2**20
    model = buckets_of(families["servefit_model_latency_seconds"])
    whole = buckets_of(families["servefit_request_seconds"])
    bounds = ("5e-06", "5e-05", "0.0002", "0.005", "+Inf")
    assert [model[bound] for bound in bounds] == [2, 4, 6, 8, 8]
    assert [whole[bound] for bound in bounds] == [0, 1, 3, 4, 4]
    for buckets in (model, whole):
        assert list(buckets.values()) == sorted(buckets.values())
    values = {sample.name: sample.value for name in families for sample in families[name].samples}
    assert values["servefit_model_latency_seconds_count"] == 8
    assert values["servefit_model_latency_seconds_sum"] == pytest.approx((2 * 4194 + 4) * 1e-6)
    assert values["servefit_request_seconds_count"] == 4
    assert values["servefit_request_seconds_sum"] == pytest.approx((4194 + 48) * 1e-6)


def buckets_of(histogram: Metric) -> dict[str, float]:
    """How many were below each bound."""
    return {sample.labels["le"]: sample.value for sample in histogram.samples if sample.name.endswith("_bucket")}


def test_a_worker_serves_while_it_gives_signs_of_life(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    counters, now_s = view(), 1000
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_s * 10**9)
    workers = [counters.of_worker(number) for number in range(3)]
    assert counters.serving() == 0
    for worker in workers:
        worker.begin()
        worker.heartbeat()
    assert counters.serving() == 3
    now_s += 4
    workers[0].heartbeat()
    workers[1].calling(now_s * 10**9)
    assert (counters.serving(), workers[1].is_calling, workers[2].is_calling) == (2, True, False)
    now_s += 4
    workers[1].called(1, [0], taken_ns=4 * 10**9, ended_ns=now_s * 10**9)
    assert (counters.serving(), workers[1].is_calling) == (1, False)
    workers[1].calling(now_s * 10**9)
    workers[1].failed(1)
    assert not workers[1].is_calling
    workers[1].end(handed_over=0)
    assert counters.serving() == 0
