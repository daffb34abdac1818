"""The counters of an endpoint in the text format of Prometheus."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from servefit.serving.messages import LATENCY_BOUNDS_NS, Reply
from servefit.version import __version__

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from servefit.serving.config import EndpointConfig
    from servefit.serving.counters import Counters
    from servefit.serving.messages import Counts

_NS_PER_S = 1e9
"""Prometheus has seconds."""

_MAX_AGE_NS = 1_000_000
"""Writing them takes a millisecond and more: who asks a thousand times in one packet is told the same again."""


class Metrics(Collector):
    """The counts in ``counters``, labelled with the name of the model, and what is served."""

    def __init__(self, config: EndpointConfig, counters: Counters) -> None:
        self._name = config.name
        self._facts = {
            "model": config.name,
            "model_digest": config.artifact.model_digest,
            "backend": config.artifact.backend,
            "backend_version": config.artifact.backend_version,
            "target": config.artifact.target.value,
            "workers": str(config.workers),
            "threads": str(config.settings.threads),
            "max_batch": str(config.max_batch),
            "batch_delay_us": str(config.batch_delay_us),
            "job": config.job,
            "servefit": __version__,
        }
        self._counters = counters
        self._written: Reply | None = None
        self._written_ns = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def reply(self) -> Reply:
        """Return all of them, as they were a moment ago at most."""
        if self._written is None or time.monotonic_ns() - self._written_ns > _MAX_AGE_NS:
            self._written = Reply(200, generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4.encode())
            self._written_ns = time.monotonic_ns()
        return self._written

    def describe(self) -> list[Metric]:
        # Registering would collect otherwise.
        return []

    def collect(self) -> Iterator[Metric]:
        counts = self._counters.total()
        yield InfoMetricFamily("servefit_endpoint", "What is served.", self._facts)
        yield from self._requests(counts)
        yield from self._latencies(counts)
        yield from self._calls(counts)
        yield from self._processes(counts)

    def _requests(self, counts: Counts) -> Iterator[Metric]:
        replies = CounterMetricFamily(
            "servefit_replies", "Replies to requests of any kind, by HTTP status.", labels=["status"]
        )
        for status, count in sorted(counts.replies.items()):
            replies.add_metric([str(status)], count)
        yield replies
        yield self._counter("servefit_requests", "Requests that were answered with predictions.", counts.requests)
        yield self._counter("servefit_rows", "Rows that were predicted.", counts.rows)
        yield self._counter("servefit_failed_requests", "Requests whose prediction failed.", counts.failed)
        yield self._counter(
            "servefit_rejected_requests", "Requests that were refused because too many waited.", counts.rejected
        )

    def _latencies(self, counts: Counts) -> Iterator[Metric]:
        yield self._histogram(
            "servefit_model_latency_seconds",
            "Time that requests waited for the predictor, and that of the call that served them.",
            counts.latency_buckets,
            counts.queued_ns + counts.predicting_ns,
        )
        yield self._histogram(
            "servefit_request_seconds",
            "Time from a request that was read to its answer with predictions: decoding, model latency, encoding.",
            counts.answer_buckets,
            counts.answered_ns,
        )

    def _histogram(self, name: str, meaning: str, counts: Sequence[int], sum_ns: int) -> Metric:
        family = HistogramMetricFamily(name, meaning, labels=["model"])
        bounds = [*(f"{bound / _NS_PER_S:g}" for bound in LATENCY_BOUNDS_NS), "+Inf"]
        family.add_metric([self._name], list(zip(bounds, accumulate(counts), strict=True)), sum_ns / _NS_PER_S)
        return family

    def _calls(self, counts: Counts) -> Iterator[Metric]:
        yield self._counter("servefit_predict_calls", "Calls of the predictor.", counts.calls)
        yield self._counter(
            "servefit_predict_seconds", "Time that calls of the predictor took.", counts.calling_ns / _NS_PER_S
        )
        yield self._counter(
            "servefit_queue_seconds", "Time that requests waited for the predictor.", counts.queued_ns / _NS_PER_S
        )
        batches = CounterMetricFamily(
            "servefit_batches", "Calls of the predictor, by how many requests joined.", labels=["model", "requests"]
        )
        for size, count, _ in counts.batches:
            batches.add_metric([self._name, str(size)], count)
        yield batches

    def _processes(self, counts: Counts) -> Iterator[Metric]:
        counters = self._counters
        yield GaugeMetricFamily(
            "servefit_workers", "Workers that serve: ready, and with a sign of life just now.", counters.serving()
        )
        yield CounterMetricFamily("servefit_worker_restarts", "Workers that died and were replaced.", counters.restarts)
        yield CounterMetricFamily(
            "servefit_worker_hangs", "Workers that hung, and were killed and replaced.", counters.hangs
        )
        yield GaugeMetricFamily("servefit_connections", "Open connections.", counts.connections)
        yield GaugeMetricFamily("servefit_queued_requests", "Requests that wait for the predictor.", counters.queued())
        cpu = CounterMetricFamily("servefit_worker_cpu_seconds", "CPU time of the worker's process.", labels=["worker"])
        memory = GaugeMetricFamily(
            "servefit_worker_resident_memory_bytes", "Resident memory of the worker's process.", labels=["worker"]
        )
        for number, pid in enumerate(counters.pids(), start=1):
            usage = _usage(pid)
            if usage is not None:
                cpu.add_metric([str(number)], usage[0])
                memory.add_metric([str(number)], usage[1])
        yield cpu
        yield memory

    def _counter(self, name: str, meaning: str, value: float) -> Metric:
        family = CounterMetricFamily(name, meaning, labels=["model"])
        family.add_metric([self._name], value)
        return family


def _usage(pid: int) -> tuple[float, int] | None:
    """Return CPU seconds and resident bytes of a process, None for one that is not there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
