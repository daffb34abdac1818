"""boto3 answered in this process: the server's application without a server, a port or a network.

A request that a client of botocore has signed is handed to the application where it would be sent. Where a server has
the state folder already, clients are pointed at that instead: jobs and endpoints are its own.
"""

from __future__ import annotations

import asyncio
import tempfile
import weakref
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from servefit.aws.application_thread import ApplicationThread, holder_name
from servefit.aws.environment import ANY_KEY
from servefit.aws.server import ServerOptions
from servefit.aws.state.claim import FOLDER, holder_of
from servefit.errors import SpecError
from servefit.state import state_folder

if TYPE_CHECKING:
    from boto3 import Session
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse

    from servefit.aws.http.application import Application

_ADDRESS = "http://127.0.0.1"
"""The address that clients are told to send to. Nothing listens there: it has them put buckets into the path."""

_CHUNK_BYTES = 2**20

_IN_MEMORY_BYTES = 8 * 2**20
"""A larger answer, such as a model, is kept in a file until it is read. Chosen, not measured."""


def boto_session(options: ServerOptions, *, region: str) -> tuple[Session, Callable[[], object]]:
    """Return a session of boto3 all of whose clients are answered here, and a function that ends that. It ends by
    itself once the session and its clients are garbage, and with the program.

    Raises SpecError where this program has a session already, where another one has the state folder, and where a
    server has it and ``options`` says something, which is for that server to be told; and StateError.
    """
    holder = holder_of(state_folder(FOLDER))
    if holder is not None and holder.startswith("http"):
        if options != ServerOptions():
            raise SpecError(
                "api", holder, "has this state folder, and its own settings", remedy="give these to it, or end it"
            )
        return _session(holder, region), lambda: None
    if holder == holder_name():
        raise SpecError("client", None, "exists already in this program", remedy="close it, or hand it to session()")
    thread = ApplicationThread(options)
    answering = _Answering(thread)
    session = _session(_ADDRESS, region)
    session.events.register("before-send", answering.answer)
    # Each client of the session has the handler, and so what it is a method of; the thread has not.
    return session, weakref.finalize(answering, thread.close)


def _session(address: str, region: str) -> Session:
    """Return a session whose clients all send to an address, and by no proxy, also those that are told another one: the
    SDK has STS's written down."""
    import boto3
    import botocore.session
    from botocore.config import Config

    direct = Config(proxies={})

    class LocalSession(botocore.session.Session):  # type: ignore[misc]
        def create_client(self, *args: Any, **options: Any) -> Any:
            config = options.get("config")
            options["config"] = direct if config is None else config.merge(direct)
            return super().create_client(*args, **{**options, "endpoint_url": address})

    session = LocalSession()
    session.set_credentials(ANY_KEY, ANY_KEY)
    session.set_config_variable("region", region)
    return boto3.Session(botocore_session=session)


class _Answering:
    """Hands requests to an application that runs in a thread."""

    def __init__(self, thread: ApplicationThread) -> None:
        self._thread = thread

    def answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """Return the answer to a request, as an event of botocore has it that one is about to be sent. Raises SpecError
        where nobody answers any more, or not in this process."""
        return self._thread.run(lambda application: _answer(application, request))


async def _answer(application: Application, request: AWSPreparedRequest) -> AWSResponse:
    from botocore.awsrequest import AWSResponse
    from urllib3 import HTTPResponse

    where = urlsplit(request.url)
    scope = {
        "type": "http",
        "method": request.method,
        "raw_path": (where.path or "/").encode("latin-1"),
        "query_string": where.query.encode("latin-1"),
        "headers": [
            (b"host", b"127.0.0.1"),
            *((_bytes(name), _bytes(value)) for name, value in request.headers.items()),
        ],
    }
    chunks = _chunks(request.body)
    begun: dict[str, Any] = {}
    content = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - whoever reads the answer closes it

    async def receive() -> dict[str, Any]:
        chunk = await anext(chunks, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            begun.update(message)
        else:
            content.write(message.get("body", b""))

    try:
        await application(scope, receive, send)
    except BaseException:  # it is cancelled where the client is closed
        content.close()
        raise
    content.seek(0)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in begun["headers"]}
    raw = HTTPResponse(
        body=content,
        headers=headers,
        status=begun["status"],
        preload_content=False,
        request_method=request.method,
    )
    return AWSResponse(request.url, begun["status"], headers, raw)


async def _chunks(body: Any) -> AsyncIterator[bytes]:
    """Yield the body of a request of botocore: bytes, text, or a file."""
    if not body:
        return
    if not hasattr(body, "read"):
        yield _bytes(body)
        return
    while chunk := await asyncio.to_thread(body.read, _CHUNK_BYTES):
        yield _bytes(chunk)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)
