"""The paths of an endpoint."""

from __future__ import annotations

import pytest

from servefit.serving.messages import Refused
from servefit.serving.routing import Action, route


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/ping", Action.PING),
        ("HEAD", "/ping", Action.PING),
        ("POST", "/invocations", Action.INVOKE),
        ("POST", "/endpoints/fraud/invocations", Action.INVOKE),
        ("GET", "/v2", Action.SERVER_METADATA),
        ("GET", "/v2/health/live", Action.LIVE),
        ("GET", "/v2/health/ready", Action.READY),
        ("GET", "/v2/models/fraud", Action.MODEL_METADATA),
        ("GET", "/v2/models/fraud/versions/1", Action.MODEL_METADATA),
        ("GET", "/v2/models/fraud/ready", Action.MODEL_READY),
        ("GET", "/v2/models/fraud/versions/1/ready", Action.MODEL_READY),
        ("GET", "/v2/models/fraud/config", Action.MODEL_CONFIG),
        ("GET", "/v2/models/fraud/stats", Action.MODEL_STATS),
        ("GET", "/v2/models/stats", Action.MODEL_STATS),
        ("POST", "/v2/models/fraud/infer", Action.INFER),
        ("POST", "/v2/models/fraud/versions/1/infer", Action.INFER),
        ("POST", "/v2/models/frau%64/infer", Action.INFER),
        ("POST", "/v2/repository/index", Action.REPOSITORY_INDEX),
        ("GET", "/metrics", Action.METRICS),
    ],
)
def test_a_path_asks_for_one_thing(method: str, path: str, action: Action) -> None:
    assert route(method.encode(), path.encode(), "fraud") is action


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"/", "path: '/' is not known"),
        (b"/pong", "path: '/pong' is not known"),
        (b"/v2/models/spam/infer", "model: 'spam' is not served here, only 'fraud' is"),
        (b"/v2/models/spam", "model: 'spam' is not served here, only 'fraud' is"),
        (b"/endpoints/spam/invocations", "model: 'spam' is not served here, only 'fraud' is"),
        (b"/v2/models/fraud/versions/2/infer", "version: model 'fraud' has no version '2', only '1'"),
        (b"/v2/models/fraud/predict", "path: '/v2/models/fraud/predict' is not known"),
        (b"/\xff\n", "path: '/\ufffd\\n' is not known"),
        (b"", "path: '' is not known"),
    ],
)
def test_an_unknown_path_is_404_and_says_what_is_unknown(path: bytes, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        route(b"POST", path, "fraud")
    assert (caught.value.status, caught.value.reason) == (404, reason)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        (b"GET", b"/invocations", b"POST"),
        (b"PUT", b"/v2/models/fraud/infer", b"POST"),
        (b"POST", b"/ping", b"GET, HEAD"),
        (b"OPTIONS", b"/metrics", b"GET, HEAD"),
    ],
)
def test_a_wrong_method_is_405_and_says_which_are_allowed(method: bytes, path: bytes, allowed: bytes) -> None:
    with pytest.raises(Refused) as caught:
        route(method, path, "fraud")
    assert caught.value.status == 405
    assert caught.value.headers == ((b"allow", allowed),)


@pytest.mark.parametrize("name", ["my_model_2", "my-model-2"])
def test_a_model_answers_under_its_own_name_and_that_with_dashes(name: str) -> None:
    assert route(b"GET", f"/v2/models/{name}".encode(), "my_model_2") is Action.MODEL_METADATA
    assert route(b"POST", f"/v2/models/{name}/versions/1/infer".encode(), "my_model_2") is Action.INFER
    assert route(b"POST", f"/endpoints/{name}/invocations".encode(), "my_model_2") is Action.INVOKE
    with pytest.raises(Refused, match="is not known"):
        route(b"GET", f"/v2/models/{name}/nothing".encode(), "my_model_2")


def test_a_model_may_be_called_anything_that_a_configuration_allows() -> None:
    for name in ("stats", "a.b-c_d", "0", "versions"):
        assert route(b"POST", f"/v2/models/{name}/infer".encode(), name) is Action.INFER
