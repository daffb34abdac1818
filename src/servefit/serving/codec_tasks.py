"""The tasks that a worker has its codec do, and their results: to decode a body, to encode predictions.

Tasks and results are pickled, with the bytes of a body, of rows, of predictions or of a reply behind them as they are.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from servefit.serving.messages import Encode, Headers, Inference, Refused, Reply, Request
from servefit.serving.protocols import open_inference, sagemaker
from servefit.serving.routing import Action

if TYPE_CHECKING:
    from servefit.serving.config import EndpointConfig

LENGTHS = struct.Struct("<QQ")
"""Before everything that is sent: the length of the pickled object, and of the bytes behind it."""

Content: TypeAlias = bytes | memoryview


@dataclass(frozen=True, slots=True)
class DecodeBody:
    """Decode a body that was sent for ``action`` with ``headers``."""

    action: Action
    headers: Mapping[bytes, bytes]

    def run(self, body: bytes, config: EndpointConfig) -> tuple[DecodedRows, Content]:
        """Return the rows of ``body``. Raises Refused."""
        request = Request(b"POST", b"", self.headers, body)
        if self.action is Action.INVOKE:
            inference = sagemaker.decode(request, config.signature, config.limits)
        else:
            inference = open_inference.decode(request, config)
        rows = inference.rows
        return DecodedRows(rows.dtype.str, rows.shape, inference.encode), rows.data.cast("B")

    def too_costly(self, limit: str) -> Refused:
        return Refused(413, f"body: reading it takes more than {limit}, send fewer rows at once")


@dataclass(frozen=True, slots=True)
class EncodePredictions:
    """Encode predictions of that type and shape."""

    encode: Encode
    dtype: str
    shape: tuple[int, ...]

    def run(self, predictions: bytes, _: EndpointConfig) -> tuple[EncodedReply, Content]:
        reply = self.encode(np.frombuffer(predictions, self.dtype).reshape(self.shape))
        return EncodedReply(reply.status, reply.content_type, reply.headers), reply.body

    def too_costly(self, limit: str) -> Refused:
        return Refused(413, f"rows: writing their predictions takes more than {limit}, ask for fewer at once")


CodecTask: TypeAlias = DecodeBody | EncodePredictions


@dataclass(frozen=True, slots=True)
class CodecReady:
    """Tasks are taken from now on."""


@dataclass(frozen=True, slots=True)
class DecodedRows:
    """The result of DecodeBody. The rows' bytes follow."""

    dtype: str
    shape: tuple[int, ...]
    encode: Encode

    def inference(self, content: memoryview) -> Inference:
        return Inference(np.frombuffer(content, self.dtype).reshape(self.shape), self.encode)


@dataclass(frozen=True, slots=True)
class EncodedReply:
    """The result of EncodePredictions. The reply's body follows."""

    status: int
    content_type: bytes
    headers: Headers

    def reply(self, content: memoryview) -> Reply:
        # Not bytes, which would be a copy. It is only sent.
        return Reply(self.status, cast("bytes", content), self.content_type, self.headers)


@dataclass(frozen=True, slots=True)
class RefusedTask:
    """The result of a task that is refused."""

    status: int
    reason: str
    headers: Headers

    @classmethod
    def because(cls, refused: Refused) -> RefusedTask:
        return cls(refused.status, refused.reason, refused.headers)

    def refused(self) -> Refused:
        return Refused(self.status, self.reason, headers=self.headers)


TaskResult: TypeAlias = CodecReady | DecodedRows | EncodedReply | RefusedTask


def frame(message: Any, content_bytes: int = 0) -> bytes:
    """Return the bytes to send before those behind ``message``."""
    pickled = pickle.dumps(message)
    return LENGTHS.pack(len(pickled), content_bytes) + pickled
