"""Bodies of requests that the API takes, refuses before they are read, or gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.aws.wire.test_signatures import signed

from servefit.aws.application_thread import ApplicationThread
from servefit.aws.http import application as limits
from servefit.aws.server import ServerOptions
from servefit.aws.wire.signatures import SigningSecret

if TYPE_CHECKING:
    from servefit.aws.http.application import Application
    from servefit.aws.wire.messages import HttpRequest

pytestmark = pytest.mark.integration

ADDRESS = "http://127.0.0.1:8181/"
Receive = Callable[[], Any]


@pytest.fixture(scope="module")
def thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplicationThread]:
    """An application that takes signed requests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(tmp_path_factory.mktemp("home")))
        running = ApplicationThread(ServerOptions(secret=SigningSecret("key", "secret")))
        try:
            yield running
        finally:
            running.close()


async def answered(application: Application, request: HttpRequest, receive: Receive) -> tuple[int, bytes]:
    sent: list[Mapping[str, Any]] = []

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    told = {"content-length": "100", **request.headers}
    headers = [(name.encode(), value.encode()) for name, value in told.items()]
    scope = {
        "type": "http",
        "method": request.method,
        "raw_path": request.path.encode(),
        "query_string": request.query.encode(),
        "headers": headers,
    }
    await application(scope, receive, send)
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


def parts(*chunks: bytes, then: Callable[[], Any]) -> Receive:
    """What gives ``chunks`` one after the other, and then what ``then`` does."""
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0) if left else await then(), "more_body": True}

    return receive


async def never() -> bytes:
    await asyncio.Event().wait()
    return b""


async def unread() -> bytes:
    raise AssertionError("the body was asked for")


async def drop() -> bytes:
    await asyncio.sleep(0.01)
    return b"a"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LINGER_S", 0.01)


@pytest.mark.parametrize(
    "changes",
    [
        {"authorization": None},
        {"authorization": "Basic abc"},
        {"x-amz-date": "20200101T000000Z"},
        {"x-amz-added": "1"},
        {"content-type": "application/x-www-form-urlencoded", "authorization": None},
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_head_that_is_not_signed_is_refused_before_its_body_is_read(
    thread: ApplicationThread, changes: dict[str, str | None]
) -> None:
    given = {**signed(ADDRESS).headers, "expect": "100-continue", **changes}
    headers = {name: value for name, value in given.items() if value is not None}
    request = replace(signed(ADDRESS), headers=headers)
    status, _ = thread.run(lambda app: answered(app, request, parts(then=unread)))
    assert status == 403


@pytest.mark.usefixtures("impatient")
def test_a_body_that_stops_coming_is_given_up(thread: ApplicationThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SILENCE_S", 0.05)
    bucket = signed(f"{ADDRESS}bucket", service="s3", method="PUT", body=b"")
    bucket = replace(bucket, headers={**bucket.headers, "content-length": "0"})
    assert thread.run(lambda app: answered(app, bucket, parts(then=never)))[0] == 200
    for request in (signed(ADDRESS), signed(f"{ADDRESS}bucket/key", service="s3", method="PUT")):
        asking = partial(answered, request=request, receive=parts(b"{", then=never))
        status, body = thread.run(asking)
        assert (status, b"RequestTimeout" in body) == (400, True)


@pytest.mark.usefixtures("impatient")
def test_a_body_that_comes_byte_by_byte_is_given_up(thread: ApplicationThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODY_S", 0.05)
    status, body = thread.run(lambda app: answered(app, signed(ADDRESS), parts(then=drop)))
    assert (status, b"RequestTimeout" in body) == (400, True)


@pytest.mark.usefixtures("impatient")
def test_bodies_that_are_on_their_way_have_a_limit_for_all_of_them_together(
    thread: ApplicationThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ARRIVING_BYTES", 1000)
    monkeypatch.setattr(limits, "MAX_BODY_S", 0.2)

    async def ask(application: Application) -> list[int]:
        first = asyncio.create_task(answered(application, signed(ADDRESS), parts(b"a" * 900, then=never)))
        await asyncio.sleep(0.05)
        second, _ = await answered(application, signed(ADDRESS), parts(b"a" * 900, then=never))
        status, _ = await first
        return [second, status, application._arriving_bytes]

    assert thread.run(ask) == [503, 400, 0]
