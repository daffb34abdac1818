"""JSON objects sent as they stand, to servers that take no known form of rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.errors import SpecError
from servefit.profiler.drivers.http.bodies import MAX_BYTES
from servefit.profiler.drivers.http.destination import Destination

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from servefit.profiler.drivers.http.address import Address


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
