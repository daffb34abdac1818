"""Python's urllib, and Prometheus's parser of metrics."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.serving.clients.conftest import Served

pytestmark = pytest.mark.integration


def ask(url: str, body: bytes | None = None, **headers: str) -> bytes:
    request = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=10) as answer:
        content: bytes = answer.read()
    return content


def samples(served: Served) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = ask(f"{served.url}/metrics").decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_json_is_predicted_as_xgboost_does(species: Served) -> None:
    body = json.dumps(species.rows.tolist()).replace("NaN", "null").encode()

    answer = json.loads(ask(f"{species.url}/invocations", body, Content_Type="application/json"))

    assert np.array_equal(np.array(answer["predictions"], dtype=np.float32), species.predictions)


def test_a_form_that_urllib_made_up_is_refused_in_a_sentence(fraud: Served) -> None:
    """Without a type it sends application/x-www-form-urlencoded."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(f"{fraud.url}/invocations", b"1,2,3,4,5")

    with caught.value as refused:
        assert refused.code == 415
        error = json.loads(refused.read())["error"]
    assert error.startswith("content-type: 'application/x-www-form-urlencoded' is not read here, only application/json")


def test_ping_is_answered_with_nothing(fraud: Served) -> None:
    assert ask(f"{fraud.url}/ping") == b""


def test_metrics_are_read_by_prometheus_and_count_requests(fraud: Served) -> None:
    model = frozenset({("model", "fraud")})
    before = samples(fraud)

    for _ in range(3):
        ask(f"{fraud.url}/invocations", b"1,2,3,4,5\n5,4,3,2,1\n", Content_Type="text/csv")

    after = samples(fraud)
    grown = {key: value - before.get(key, 0) for key, value in after.items()}
    assert grown["servefit_requests_total", model] == 3
    assert grown["servefit_rows_total", model] == 6
    assert grown["servefit_model_latency_seconds_count", model] == 3
    assert grown["servefit_model_latency_seconds_bucket", model | {("le", "+Inf")}] == 3
    assert 0 < grown["servefit_model_latency_seconds_sum", model] < 3
    assert after["servefit_workers", frozenset()] == 1
    assert after["servefit_worker_resident_memory_bytes", frozenset({("worker", "1")})] > 2**20
