"""The requests that a URL and a payload give, and the errors where there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.errors import MeasurementError, PayloadMismatch, SpecError
from servefit.profiler.procedures.target_endpoint import resolve_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import HttpServer
    from tests.profiler.conftest import HostSmall

pytestmark = pytest.mark.integration

ROWS = [[1.5, 2, 3], [4, 5, 6]]
ANSWER: tuple[int, bytes, dict[str, str]] = (200, b'{"predictions": [0.5]}', {})


def body_of(request: bytes) -> Any:
    return json.loads(request.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    ("speaks", "protocol", "form", "path"),
    [
        ("open-inference", "auto", "open-inference", "/v2/models/only/infer"),
        ("open-inference", "open-inference-binary", "open-inference-binary", "/v2/models/only/infer"),
        ("open-inference", "sagemaker-json", "sagemaker-json", "/invocations"),
        ("sagemaker", "auto", "sagemaker-csv", "/invocations"),
        ("nothing", "auto", "json", "/"),
        ("nothing", "json", "json", "/"),
    ],
)
def test_rows_are_sent_in_the_protocol_of_the_server_or_the_one_that_is_given(
    host_small: HostSmall, speaks: str, protocol: str, form: str, path: str
) -> None:
    with host_small({"speaks": speaks}) as hosted:
        found = resolve_target(hosted.url, payload=ROWS, protocol=protocol)
    assert (found.destination.form, found.destination.address.path) == (form, path)
    if form.startswith("open-inference"):
        assert [(tensor.name, tensor.datatype) for tensor in found.destination.tensors] == [("rows", "FP64")]
    assert found.rows.tolist() == ROWS
    assert (found.payload, found.synthetic, found.is_here) == ("array", False, True)


@pytest.mark.parametrize("path", ["", "/v2/models/only/infer", "/invocations"])
def test_without_a_payload_rows_are_as_wide_as_the_server_says(host_small: HostSmall, path: str) -> None:
    with host_small({"speaks": "open-inference"}) as hosted:
        found, again = (resolve_target(hosted.url + path, seed=3) for _ in range(2))
    assert found.rows.shape == (1000, 3)
    assert found.synthetic
    assert found.payload == "synthetic payload"
    assert np.array_equal(found.rows, again.rows)


@pytest.mark.parametrize("speaks", ["sagemaker", "nothing"])
def test_without_a_payload_nothing_is_guessed(host_small: HostSmall, speaks: str) -> None:
    with host_small({"speaks": speaks}) as hosted, pytest.raises(SpecError, match="give sample rows") as caught:
        resolve_target(hosted.url)
    assert caught.value.field == "payload"


@pytest.mark.parametrize(
    "content",
    [
        '{"amount": 3, "country": "DE"}',
        '[{"amount": 3, "country": "DE"}]',
        '{"amount": 3, "country": "DE"}\n\n{"amount": 3, "country": "DE"}\n',
    ],
)
@pytest.mark.parametrize("protocol", ["auto", "json"])
def test_json_objects_are_sent_to_a_plain_server_as_they_stand(
    host_small: HostSmall, tmp_path: Path, content: str, protocol: str
) -> None:
    payload = tmp_path / "payload.json"
    payload.write_text(content)
    with host_small({"speaks": "nothing"}) as hosted:
        found = resolve_target(f"{hosted.url}/predict", payload=payload, protocol=protocol)
    requests = found.destination.requests(found.rows)
    assert [body_of(request) for request in requests] == [{"amount": 3, "country": "DE"}] * len(requests)
    assert b"POST /predict HTTP/1.1\r\n" in requests[0]
    assert found.payload == "payload.json"


def test_json_objects_with_numbers_are_rows_to_a_server_that_takes_rows(host_small: HostSmall) -> None:
    objects = [{"a": 1, "b": 2, "c": 3}]
    with host_small({"speaks": "open-inference"}) as hosted, pytest.raises(PayloadMismatch):
        resolve_target(hosted.url, payload=[{"a": "DE"}])
    with host_small({"speaks": "nothing"}) as hosted:
        found = resolve_target(hosted.url, payload=objects)
        assert body_of(found.destination.requests(found.rows)[0]) == objects[0]
        with pytest.raises(SpecError, match=r"^rows_per_request: 2 cannot be joined"):
            resolve_target(hosted.url, payload=objects, rows_per_request=2)


def test_the_payload_of_a_file_with_objects_of_rows_fits_both_kinds_of_servers(
    host_small: HostSmall, tmp_path: Path
) -> None:
    payload = tmp_path / "payload.json"
    payload.write_text(json.dumps({"instances": ROWS}))
    with host_small({"speaks": "sagemaker", "takes": "application/json"}) as hosted:
        found = resolve_target(hosted.url, payload=payload)
    assert found.destination.form == "sagemaker-json"
    assert found.rows.tolist() == ROWS
    with host_small({"speaks": "nothing"}) as hosted:
        found = resolve_target(hosted.url, payload=payload)
    assert body_of(found.destination.requests(found.rows)[0]) == {"instances": ROWS}


def endpoint(
    tensor: dict[str, Any], *, server: str = "servefit", columns: int = 3
) -> Callable[[str, bytes], tuple[int, bytes, dict[str, str]]]:
    """An endpoint whose model has one input, of three columns, that is told as ``tensor``."""
    told = {
        "/v2": {"name": server},
        "/v2/repository/index": [{"name": "only"}],
        "/v2/models/only": {"inputs": [{"name": "input-0", "datatype": "FP32", "shape": [-1, 3], **tensor}]},
    }

    def respond(path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if path in told:
            return 200, json.dumps(told[path]).encode(), {}
        if (path == "/invocations" and body.count(b",") == columns - 1) or path == "/v2/models/only/infer":
            return ANSWER
        return 404 if path.startswith("/v2") else 400, b"{}", {}

    return respond


NAMED = {"parameters": {"feature_names": ["amount", "age", "time"]}}


@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        ("", "auto"),
        ("", "open-inference-binary"),
        ("", "sagemaker-csv"),
        ("/v2/models/only/infer", "auto"),
        ("/invocations", "auto"),
    ],
)
def test_columns_are_picked_by_name_where_the_model_says_theirs(
    http_server: HttpServer, tmp_path: Path, path: str, protocol: str
) -> None:
    payload = tmp_path / "payload.csv"
    payload.write_text("id,time,amount,age,label\n7,3,1.5,2,1\n")
    with http_server(endpoint(NAMED)) as url:
        found = resolve_target(url + path, payload=payload, protocol=protocol)
    assert found.rows.tolist() == [[1.5, 2, 3]]
    assert found.unused_columns == ("id", "label")


def test_columns_without_names_have_to_be_as_many_as_the_model_that_says_theirs_has(http_server: HttpServer) -> None:
    words = r"payload array: expected 3 columns, got 4"
    with http_server(endpoint(NAMED)) as url, pytest.raises(PayloadMismatch, match=words):
        resolve_target(url, payload=[[1, 2, 3, 4]])


@pytest.mark.parametrize("feature_names", [["amount"], "amount", [1, 2, 3], None])
def test_names_that_do_not_fit_the_columns_are_not_believed(http_server: HttpServer, feature_names: Any) -> None:
    with http_server(endpoint({"parameters": {"feature_names": feature_names}})) as url:
        assert resolve_target(url, payload=ROWS).rows.tolist() == ROWS


def test_a_server_of_others_that_is_asked_in_another_protocol_gets_every_column(http_server: HttpServer) -> None:
    with http_server(endpoint(NAMED, server="other", columns=4)) as url:
        found = resolve_target(f"{url}/invocations", payload=[[1, 2, 3, 4]])
    assert found.rows.tolist() == [[1, 2, 3, 4]]
    assert found.unused_columns == ()


def test_what_a_server_says_to_a_payload_that_it_refuses_is_passed_on(http_server: HttpServer) -> None:
    def respond(path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        return 422, b'{"error": "expected 30 columns, got 3"}', {}

    said = r"/score answers no request: status 422, 'expected 30 columns, got 3'; see whether"
    with http_server(respond) as url, pytest.raises(MeasurementError, match=said):
        resolve_target(f"{url}/score", payload=ROWS)


def test_a_server_that_refuses_some_requests_only_is_loaded(http_server: HttpServer) -> None:
    def respond(path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        return ANSWER if b"4.0" in body else (400, b"{}", {})

    with http_server(respond) as url:
        assert resolve_target(f"{url}/score", payload=ROWS).destination.form == "json"


def test_redirects_are_not_followed_and_proxies_not_used(
    http_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[str] = []

    def elsewhere(path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        reached.append(path)
        return ANSWER

    with http_server(elsewhere) as proxy:
        for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy)
        monkeypatch.delenv("no_proxy", raising=False)

        def respond(path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
            return (307, b"", {"location": f"{proxy}{path}"}) if path == "/moved" else ANSWER

        with http_server(respond) as url:
            assert resolve_target(f"{url}/here", payload=ROWS).destination.address.url == f"{url}/here"
            with pytest.raises(MeasurementError, match=r"status 307, a redirect to .* that is not followed"):
                resolve_target(f"{url}/moved", payload=ROWS)
    assert reached == []


def test_nothing_is_read_or_sent_before_another_machine_is_allowed() -> None:
    with pytest.raises(SpecError, match="is not this machine"):
        resolve_target("http://192.0.2.1:8080", payload=Path("/nonexistent"))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"url": "127.0.0.1:8080"}, SpecError, "is no address of a server"),
        ({"url": "ftp://127.0.0.1"}, SpecError, "is no address of a server"),
        ({"url": "http://127.0.0.1:1"}, MeasurementError, "does not answer: Connection refused"),
        ({"url": "https://127.0.0.1:1"}, MeasurementError, "does not answer: Connection refused"),
        ({"url": "http://nowhere.invalid"}, MeasurementError, "there is no server called nowhere.invalid"),
        ({"protocol": "grpc"}, SpecError, "known: auto, json, open-inference"),
        ({"model": "other\r\nx: y"}, SpecError, "'other%0D%0Ax%3A%20y' is not served"),
        ({"payload": "gone.csv"}, PayloadMismatch, "gone.csv: expected a readable file"),
        ({"payload": None, "seed": -1}, SpecError, "seed: -1"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(
    host_small: HostSmall, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with host_small({"speaks": "open-inference"}) as hosted, pytest.raises(error) as caught:
        resolve_target(**{"url": hosted.url, "payload": ROWS, **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_requests_of_their_own_sizes_go_to_a_server_that_leaves_sizes_open(host_small: HostSmall) -> None:
    requests = [
        {"ids": [5, 2**53 - 1], "image": [[0.5], [1.5], [2.5]]},
        {"ids": [7], "image": [[0.5, 1.0], [1.5, 2.0], [2.5, 3.0]]},
    ]
    with host_small({"speaks": "texts"}) as hosted:
        found = resolve_target(hosted.url, payload=requests)
        sent = [body_of(request)["inputs"] for request in found.destination.requests(found.rows)]
        with pytest.raises(SpecError, match="give sample rows"):
            resolve_target(hosted.url)
    assert [[tensor["shape"] for tensor in request] for request in sent] == [[[1, 2], [1, 3, 1]], [[1, 1], [1, 3, 2]]]
    assert [request[0]["data"] for request in sent] == [request["ids"] for request in requests]


def test_the_only_input_of_a_network_that_servefit_serves_may_leave_its_size_open(host_small: HostSmall) -> None:
    """Of other servers, that is how a table looks that may have any width."""
    with host_small({"speaks": "words"}) as hosted:
        found = resolve_target(hosted.url, payload=[{"ids": [5, 6, 7]}, {"ids": [8]}])
        sent = [body_of(request)["inputs"][0] for request in found.destination.requests(found.rows)]
        with pytest.raises(SpecError, match="puts rows of different sizes into one request"):
            resolve_target(
                hosted.url, payload=[{"ids": [5, 6, 7]}, {"ids": [8, 9, 1]}, {"ids": [8]}], rows_per_request=2
            )
    assert [(tensor["name"], tensor["shape"], tensor["data"]) for tensor in sent] == [
        ("ids", [1, 3], [5, 6, 7]),
        ("ids", [1, 1], [8]),
    ]
