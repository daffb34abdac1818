"""The answer of a server to a single request, before anything is measured, in a printable line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.errors import MeasurementError
from servefit.profiler.drivers.http.address import Address
from servefit.profiler.drivers.http.destination import Destination
from servefit.profiler.drivers.http.single_requests import SingleAnswer, get, send_request

if TYPE_CHECKING:
    import numpy as np
    from tests.profiler.conftest import HostSmall

pytestmark = pytest.mark.integration

CERTIFICATE = str(Path(__file__).parents[3] / "fixtures/tls/localhost.pem")


def test_an_answer_comes_with_its_status_and_body(host_small: HostSmall, payload_rows: np.ndarray) -> None:
    with host_small({"every": 2, "act": 503}) as hosted:
        destination = Destination.of(hosted.url, "json")
        request, second_request, *_ = destination.requests(payload_rows)
        first, second = (
            send_request(destination.address, message, timeout_s=5) for message in (request, second_request)
        )
        counted = get(destination.address.at("/counted"), timeout_s=5).value()
    assert (first.status, first.is_success, first.value()) == (200, True, {"predictions": [0.25]})
    assert not second.is_success
    assert second.described() == "status 503, 'it is so'"
    assert (counted["requests"], counted["connections"]) == (2, 3)
    assert list(counted["bodies"]) == ["[[0.0,0.0,0.0]]", "[[1.0,1.0,1.0]]"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": "no such column"}, "'no such column'"),
        ({"detail": [{"loc": ["body", 0], "msg": "too short"}]}, '[{"loc": ["body", 0], "msg": "too short"}]'),
        ({"message": "Bad\n\n  payload"}, "'Bad payload'"),
        ("just text", "'just text'"),
        ({"code": 3}, """'{"code": 3}'"""),
        ([1, 2], "'[1, 2]'"),
    ],
)
def test_the_sentence_in_an_answer_is_found(body: Any, said: str) -> None:
    assert said in SingleAnswer(status=400, body=json.dumps(body).encode()).described()


def test_an_answer_without_a_body_and_a_redirect_are_described_too() -> None:
    assert SingleAnswer(status=404, body=b"").described() == "status 404"
    moved = SingleAnswer(status=307, body=b"moved", location="http://elsewhere.example/x")
    assert moved.described() == "status 307, a redirect to http://elsewhere.example/x that is not followed"


@given(st.binary(max_size=3000))
def test_whatever_a_server_says_is_one_short_line_of_printable_text(body: bytes) -> None:
    described = SingleAnswer(status=500, body=body).described()
    assert described.isprintable()
    assert len(described) < 1000  # what is quoted may take four characters for each


def test_nobody_there_and_garbage_are_told_in_one_line(host_small: HostSmall, payload_rows: np.ndarray) -> None:
    with host_small({"act": "garbage"}) as hosted:
        destination = Destination.of(hosted.url, "json")
        (request, *_) = destination.requests(payload_rows)
        with pytest.raises(MeasurementError, match=r"^http://127\.0\.0\.1:\d+/ does not answer: "):
            send_request(destination.address, request, timeout_s=5)
    with pytest.raises(MeasurementError, match=r"does not answer: Connection refused; start the server"):
        send_request(destination.address, request, timeout_s=5)


@pytest.mark.parametrize("act", ["hang", "announce", "trickle"])
def test_a_server_that_never_gives_a_whole_answer_is_not_waited_for(
    act: str, host_small: HostSmall, payload_rows: np.ndarray
) -> None:
    """However much it says: the limit is for the answer, and not for each read."""
    with host_small({"act": act}) as hosted:
        destination = Destination.of(hosted.url, "json")
        with pytest.raises(MeasurementError, match="does not answer: timed out"):
            send_request(destination.address, destination.requests(payload_rows)[0], timeout_s=0.2)


def test_a_certificate_is_checked(host_small: HostSmall, monkeypatch: pytest.MonkeyPatch) -> None:
    with host_small({"certificate": CERTIFICATE}) as hosted:
        address = replace(Address.parse(f"https://localhost:{hosted.port}/counted"), ip="127.0.0.1")
        with pytest.raises(MeasurementError, match=r"certificate refused: self.signed"):
            get(address, timeout_s=5)
        monkeypatch.setenv("SSL_CERT_FILE", CERTIFICATE)
        assert get(address, timeout_s=5).value()["requests"] == 0
