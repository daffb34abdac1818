"""The ASGI application: one address for all services.

A request is read, brought to its operation, and answered in its own protocol, whatever is wrong with it. Operations run
in threads: some wait.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from servefit.aws.s3.documents import error_document
from servefit.aws.services.call import Call
from servefit.aws.state.resources import Missing, Taken
from servefit.aws.wire.destination import ServiceOperation, destination, signed_for
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.formats import protocol_of, read_request, write_answer, write_error
from servefit.aws.wire.messages import FileAnswer, HttpAnswer, HttpRequest
from servefit.aws.wire.service_models import operation_model
from servefit.aws.wire.validation import check, refuse_unknown
from servefit.errors import ServefitError

if TYPE_CHECKING:
    from servefit.aws.s3.service import S3
    from servefit.aws.services.call import Operations
    from servefit.aws.services.runtime import Runtime
    from servefit.aws.wire.signatures import SigningSecret
    from servefit.aws.wire.validation import Extension

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 6 * 2**20
"""More than any request of the JSON and query protocols needs. Chosen, not measured."""

MAX_INVOCATION_BYTES = 25 * 2**20
"""Of SageMaker's InvokeEndpoint, since 2024."""

MAX_ARRIVING_BYTES = 2**26
"""Of all bodies together that are on their way and whose signatures cannot be checked before they are there: ten of the
longest of a job, or two of an invocation and some. Chosen, not measured."""

MAX_SILENCE_S = 60.0
"""A body of which nothing comes for so long is given up: nginx's client_body_timeout."""

MAX_BODY_S = 60.0
"""A body that is not there as a whole by then is given up, except for one that goes to a file as it comes: the longest
would have come at 0.5 MB a second. Chosen, not measured."""

_THREADS = 64
"""GetLogEvents waits in one of them, one for each job that a client watches. Chosen, not measured."""

_FILE_BYTES = 2**18

_MAX_SKIPPED_BYTES = 2**24
"""Of a body that is not needed any more: two parts of an upload by boto3. Chosen, not measured."""

_LINGER_S = 5.0
"""A client that has its answer has so long to stop sending. nginx waits as long between two reads."""

_T = TypeVar("_T")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Disconnected(Exception):
    """The client went away before its request was whole."""


class Application:
    """Answers requests, by ``operations`` of the services that have some, ``s3`` and ``runtime``. ``hosts`` are the
    names that clients may know the server by, None for any."""

    def __init__(
        self,
        *,
        operations: Mapping[str, Operations],
        s3: S3,
        runtime: Runtime,
        account: str,
        extension: Extension,
        secret: SigningSecret | None = None,
        hosts: frozenset[str] | None = None,
    ) -> None:
        self._operations = operations
        self._s3 = s3
        self._runtime = runtime
        self._account = account
        self._extension = extension
        self._secret = secret
        self._hosts = hosts
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="operation")
        self._arriving_bytes = 0

    def close(self) -> None:
        """Give up the threads; what runs in them is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = HttpRequest(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        )
        request_id = str(uuid.uuid4())
        body = _Body(receive, request)
        try:
            answer = await self._answered(request, aiter(body), request_id)
            await body.skip_rest()
        except Disconnected:
            return
        try:
            is_last = not body.is_over
            await _send(answer, send, request_id, body=request.method != "HEAD", is_last=is_last)
            if is_last:
                # A connection that is closed while its client still sends is reset, and the answer may be lost.
                with suppress(Disconnected):
                    await body.skip_all()
                await send({"type": "http.response.body", "body": b""})
        finally:
            if isinstance(answer, FileAnswer):
                answer.file.close()

    async def _answered(
        self, request: HttpRequest, chunks: AsyncIterator[bytes], request_id: str
    ) -> HttpAnswer | FileAnswer:
        """Return the answer to a request: an error in the form of its service, whatever is wrong."""
        where = destination(request)
        try:
            self._refuse_web_pages(request)
            if where.service != "s3" or (request.is_form and not where.is_sure):
                self._check(request, where, head_alone=True)
                request = await self._with_body(request, chunks, where)
                chunks = _one(request.body)
                if request.is_form:  # only a form says more than the headers
                    where = await self._in_thread(lambda: destination(request))
            await self._in_thread(lambda: self._check(request, where))
            if where.service == "s3":
                return await self._s3.answer(request, chunks)
            if where.service == "sagemaker-runtime":
                return await self._in_thread(lambda: self._runtime.invoke(request, where.region))
            return await self._in_thread(lambda: self._carry_out(request, where, request_id))
        except ApiError as error:
            return _error(error, request, where, request_id)
        except (Missing, Taken) as error:
            changed = ApiError("ValidationException", "Could not find it: it was changed by another request.")
            _log.info("%s %s: %r", where.service, where.operation, error)
            return _error(changed, request, where, request_id)
        except Disconnected:
            raise
        except Exception as error:  # noqa: BLE001 - clients understand an answer in their protocol alone
            _log.exception("%s %s", where.service, where.operation or request.path)
            text = str(error) if isinstance(error, ServefitError) else "the server failed; its log says how"
            return _error(ApiError("InternalFailure", text, status=500), request, where, request_id)

    def _check(self, request: HttpRequest, where: ServiceOperation, *, head_alone: bool = False) -> None:
        """Raise ApiError for a request that is not signed, where the server has a secret."""
        if self._secret is not None:
            self._secret.check(request, signed_for(where.service), head_alone=head_alone)

    def _refuse_web_pages(self, request: HttpRequest) -> None:
        """Raise ApiError for what a browser sends for a page of another site: no client of AWS sends an origin, and
        the name of a host that is not this one is of an address that was made to point here."""
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        foreign = self._hosts is not None and host.strip("[]") not in self._hosts
        if "origin" in request.headers or "sec-fetch-site" in request.headers or foreign:
            raise ApiError("AccessDenied", "requests of web pages are not answered", status=403)

    def _carry_out(self, request: HttpRequest, where: ServiceOperation, request_id: str) -> HttpAnswer:
        service, name = where.service, where.operation or ""
        operation = self._operations.get(service, {}).get(name)
        model = None if operation is None else operation_model(service, name)
        if operation is None or model is None:
            raise refuse_unknown(f"{service}:{name or request.path}")
        parameters = read_request(service, model, request)
        if model.input_shape is not None:
            check(model.input_shape, parameters, extension=self._extension)
        result = operation(Call(given=parameters, region=where.region, account=self._account))
        return write_answer(service, model, result, request, request_id=request_id)

    async def _with_body(
        self, request: HttpRequest, chunks: AsyncIterator[bytes], where: ServiceOperation
    ) -> HttpRequest:
        """Return a request with its body. Raises ApiError for one that is too long or too slow, and while the bodies of
        others take all the memory that there is for them."""
        most = MAX_INVOCATION_BYTES if where.service == "sagemaker-runtime" else MAX_BODY_BYTES
        body = bytearray()
        try:
            async with asyncio.timeout(MAX_BODY_S):
                async for chunk in chunks:
                    body += chunk
                    self._arriving_bytes += len(chunk)
                    if len(body) > most:
                        raise ApiError("RequestEntityTooLarge", f"the body has more than {most} bytes", status=413)
                    if self._arriving_bytes > MAX_ARRIVING_BYTES:
                        raise ApiError("ServiceUnavailable", "too many bodies are on their way; try again", status=503)
        except TimeoutError as error:
            raise _too_slow() from error
        finally:
            self._arriving_bytes -= len(body)
        return replace(request, body=bytes(body))

    async def _in_thread(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def _error(error: ApiError, request: HttpRequest, where: ServiceOperation, request_id: str) -> HttpAnswer:
    if where.service == "s3":
        return error_document(error, resource=request.path, request_id=request_id)
    protocol = protocol_of(where.service, request)
    return write_error(where.service, error, protocol=protocol, request_id=request_id)


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _too_slow() -> ApiError:
    """Return the error for a client that takes too long, in the words of S3, after which botocore tries again."""
    return ApiError(
        "RequestTimeout",
        "Your socket connection to the server was not read from or written to within the timeout period.",
    )


class _Body:
    """The body of a request as it comes. Iterating over it raises Disconnected where the client goes away, and
    ApiError where it sends nothing for too long.

    Where an answer is sent before it is over, what is left of it would be taken for the next request.
    """

    def __init__(self, receive: Receive, request: HttpRequest) -> None:
        self._receive = receive
        self._waits_to_be_asked = "100-continue" in request.headers.get("expect", "").lower()
        self.is_over = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self.is_over:
            try:
                async with asyncio.timeout(MAX_SILENCE_S):
                    message = await self._receive()
            except TimeoutError as error:
                raise _too_slow() from error
            self._waits_to_be_asked = False
            if message["type"] == "http.disconnect":
                raise Disconnected
            self.is_over = not message.get("more_body", False)
            if body := message.get("body", b""):
                yield body

    async def skip_rest(self) -> None:
        """Take what is left and not much, so that the client can read the answer and use its connection again. A client
        that waits to be asked for its body does not send it."""
        skipped = 0
        if not self._waits_to_be_asked:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_S):
                    async for chunk in self:
                        skipped += len(chunk)
                        if skipped >= _MAX_SKIPPED_BYTES:
                            return

    async def skip_all(self) -> None:
        """Take all that comes in the next seconds, if the client sends it by itself."""
        if not self._waits_to_be_asked:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_S):
                    async for _ in self:
                        pass


async def _send(answer: HttpAnswer | FileAnswer, send: Send, request_id: str, *, body: bool, is_last: bool) -> None:
    """Send an answer, without its body for HEAD. The last one of a connection is left open, for what the client still
    sends."""
    length = answer.length if isinstance(answer, FileAnswer) else len(answer.body)
    headers = {"x-amzn-requestid": request_id, "x-amz-request-id": request_id, "content-length": str(length)}
    headers |= answer.headers
    if is_last:
        headers["connection"] = "close"
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()
            ],
        }
    )
    if isinstance(answer, FileAnswer):
        await _send_file(answer, send, is_last=is_last)
    else:
        await send({"type": "http.response.body", "body": answer.body if body else b"", "more_body": is_last})


async def _send_file(answer: FileAnswer, send: Send, *, is_last: bool) -> None:
    left = answer.length
    while left:
        content = await asyncio.to_thread(answer.file.read, min(left, _FILE_BYTES))
        if not content:
            break  # it became shorter: the client sees that too little came
        left -= len(content)
        await send({"type": "http.response.body", "body": content, "more_body": bool(left) or is_last})
    if left or not answer.length:
        await send({"type": "http.response.body", "body": b"", "more_body": is_last})
