"""The destination of requests: an address, the form in which it takes rows, and the names that this form asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from servefit.errors import SpecError
from servefit.profiler.drivers.http.address import Address
from servefit.profiler.drivers.http.bodies import FORMS, MAX_BYTES, Bodies, Form, Tensor, bodies

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from servefit.backends.model.packing import Packing


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """An endpoint that takes requests in ``form``. ``model`` is its name in URLs of the Open Inference Protocol, where
    the inputs are ``tensors``, which lie in a row as ``packing`` says where requests have sizes of their own.
    ``headers`` are sent with every request. ``written`` are the bodies of all requests where they were written before.
    """

    address: Address
    form: Form
    model: str | None = None
    tensors: tuple[Tensor, ...] = (Tensor(),)
    headers: tuple[tuple[str, str], ...] = ()
    packing: Packing | None = None
    written: Bodies | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str, form: Form, *, model: str | None = None) -> Destination:
        """Return the destination on the server at ``url``, as :meth:`to` does. Raises SpecError."""
        return cls.to(Address.parse(url), form, model=model)

    @classmethod
    def to(cls, address: Address, form: Form, *, model: str | None = None) -> Destination:
        """Return where requests in ``form`` go on the server at ``address``: to the path that is given, else to the one
        that this form is served at. Raises SpecError."""
        if form not in FORMS:
            raise SpecError.unknown("form", str(form), list(FORMS))
        if address.path == "/" and form.startswith("sagemaker"):
            address = address.at("/invocations")
        if address.path == "/" and form.startswith("open-inference"):
            if model is None:
                raise SpecError("model", None, "is not named", remedy="end the URL with /v2/models/NAME/infer")
            address = address.at(f"/v2/models/{model}/infer")
        return cls(address=address, form=form, model=model)

    def requests(self, rows: np.ndarray, *, rows_per_request: int = 1) -> tuple[bytes, ...]:
        """Return whole HTTP requests of ``rows_per_request`` rows each, one after the other, which rotate through
        ``rows`` (n, features). See ``bodies``."""
        address = self.address
        begin = f"POST {address.path} HTTP/1.1\r\nhost: {address.authority}\r\n".encode()
        written = self.written
        if written is None:
            written = bodies(
                self.form, rows, rows_per_request=rows_per_request, tensors=self.tensors, packing=self.packing
            )
        own = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in self.headers)
        return tuple(
            b"%b%b%bcontent-length: %d\r\n\r\n%b"
            % (begin, own, b"".join(f"{name}: {value}\r\n".encode() for name, value in headers), len(body), body)
            for headers, body in written
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents(Destination):
    """An endpoint that takes ``contents`` as the bodies of requests, one after the other; rows are of no use to it."""

    contents: tuple[bytes, ...]

    @classmethod
    def at(cls, address: Address, objects: Iterable[Any]) -> Documents:
        """Return where requests go that hold one of ``objects`` each, as many of them as 8 MiB hold."""
        contents, total = [], 0
        for document in objects:
            contents.append(json.dumps(document, separators=(",", ":")).encode())
            total += len(contents[-1])
            if total > MAX_BYTES:
                break
        return cls(address=address, form="json", contents=tuple(contents))

    def requests(self, rows: np.ndarray, *, rows_per_request: int = 1) -> tuple[bytes, ...]:  # noqa: ARG002
        """Return whole HTTP requests with one object each. Raises SpecError where several are to be joined."""
        if rows_per_request != 1:
            problem = "cannot be joined: a JSON object is a request of its own"
            raise SpecError("rows_per_request", rows_per_request, problem)
        head = f"POST {self.address.path} HTTP/1.1\r\nhost: {self.address.authority}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        begin = f"{head}content-type: application/json\r\ncontent-length: ".encode("latin-1")
        return tuple(b"%b%d\r\n\r\n%b" % (begin, len(content), content) for content in self.contents)
