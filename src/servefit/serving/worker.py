"""A worker: opens the artifact, predicts once, and serves the connections that the supervisor hands it until it is told
to stop. Its environment is set by the supervisor, before this process began."""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from servefit.backends.payload.rows import zero_rows
from servefit.errors import RowsRefused, ServefitError
from servefit.processes import die_with_parent
from servefit.serving.batching import Batching
from servefit.serving.channel import Channel, Message
from servefit.serving.codec_client import CodecClient
from servefit.serving.config import EndpointConfig
from servefit.serving.connections import Connections
from servefit.serving.counters import Counters
from servefit.serving.endpoint import Endpoint
from servefit.serving.event_log import FailureLog, log_event
from servefit.serving.output import hidden_in_output
from servefit.serving.pace import RowTimes

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    import numpy as np

    from servefit.backends.types import Predictor

_WARM_UP_NS = 2_000_000_000
"""Most models are warm in milliseconds; an endpoint that starts must not wait long for the largest. Chosen, not
measured."""

_FINISHED_EVERY_S = 0.05
"""A worker that stops ends so much late at most."""

_CUT_OFF = 3
"""The status of a worker whose time was up before it had answered everything."""

_YOUNG_OBJECTS = 10_000
"""Objects beyond which Python looks for garbage, which is 700 by default: requests leave few cycles behind."""


def main() -> None:
    """Serve. Arguments: the worker's number from 0 on; file descriptors of the channel to the supervisor, of the
    counters, and of the description of the endpoint."""
    number, channel_fd, counters_fd, config_fd = map(int, sys.argv[1:])
    die_with_parent()
    channel = Channel(socket.socket(fileno=channel_fd))
    try:
        worker = _Worker(number, channel, counters_fd, read_config(config_fd))
    except ServefitError as error:
        channel.send(Message.FAILED, text=str(error))
        sys.exit(4)
    worker.serve()


def read_config(descriptor: int) -> EndpointConfig:
    """Return the endpoint whose description the supervisor left behind ``descriptor``, which all workers share."""
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return msgspec.json.decode(content, type=EndpointConfig)


class _Worker:
    def __init__(self, number: int, channel: Channel, counters_fd: int, config: EndpointConfig) -> None:
        self._name = f"worker {number + 1}"
        self._channel = channel
        self._config = config
        counters = Counters(counters_fd, workers=config.workers, max_batch=config.max_batch)
        self._counters = own = counters.of_worker(number)
        own.begin()
        predictor = _load(config)
        pace = _warm_up(predictor, config)
        self._loop: AbstractEventLoop = uvloop.new_event_loop()
        codec = CodecClient(config, self._loop, self._name, own)
        hidden = hidden_in_output(os.environ, config) if config.tells_failures else None
        failures = FailureLog(self._name, hidden=hidden)
        self._batching = Batching(config, predictor.predict, own, self._loop, codec, failures, pace)
        self._endpoint = Endpoint(config, self._batching, codec, counters)
        self._connections = Connections(self._endpoint, config.limits, own, self._loop)
        self._failures: set[tuple[str, type[BaseException]]] = set()

    def serve(self) -> None:
        """Serve until the supervisor says stop and all is answered, or until it is gone."""
        self._loop.set_exception_handler(self._failed)
        self._loop.add_reader(self._channel.fileno(), self._read_channel)
        # What was loaded stays. Without it, looking for garbage takes little, and there is little of that.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS, 20, 100)
        self._counters.heartbeat()
        self._channel.send(Message.READY)
        self._loop.run_forever()
        # Native libraries may crash while they tear down.
        with suppress(OSError):
            sys.stdout.flush()
        if self._connections.has_unanswered():
            self._channel.send(Message.FAILED, text="its time was up")
            os._exit(_CUT_OFF)
        os._exit(0)

    def _read_channel(self) -> None:
        for message, connection, _ in self._channel.receive():
            if message is Message.CONNECTION:
                self._connections.take(connection)
            elif message is Message.STOP:
                self._stop()
            elif message is Message.HANG_UP:
                os._exit(1)

    def _stop(self) -> None:
        self._endpoint.draining = True
        self._connections.drain()
        self._loop.call_later(self._config.limits.grace_s, self._loop.stop)
        self._finish()

    def _finish(self) -> None:
        """End when every connection has."""
        if len(self._connections):
            self._loop.call_later(_FINISHED_EVERY_S, self._finish)
        else:
            self._loop.stop()

    def _failed(self, _: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report what the event loop caught: an exception of the predictor, or a mistake in this package."""
        error = context.get("exception")
        if not isinstance(error, BaseException):
            log_event(f"{self._name}: {context.get('message')}")
            return
        what = "the predictor failed" if self._batching.calling else "a request failed"
        if (what, type(error)) not in self._failures:
            self._failures.add((what, type(error)))
            text = " ".join(str(error).split())
            log_event(f"{self._name}: {what} with {type(error).__name__}: {text} (said once for each kind of error)")
        if self._batching.calling:
            self._batching.fail(error)


def _load(config: EndpointConfig) -> Predictor:
    module, _, name = config.loader.partition(":")
    predictor: Predictor = getattr(import_module(module), name)(config.opened(), config.settings)
    return predictor


def _warm_up(predictor: Predictor, config: EndpointConfig) -> RowTimes:
    """Predict once, and then, for two seconds at most, three times each number of rows that is a power of two, and rows
    of each class of sizes, since libraries keep plans and buffers per shape; return how long that took. A script is not
    called: nobody else knows what it takes."""
    pace = RowTimes()
    if config.signature.opaque:
        return pace
    deadline = time.monotonic_ns() + _WARM_UP_NS
    sizes = sorted({2**power for power in range(config.max_batch.bit_length())} | {config.max_batch})
    signature = config.signature
    classes: list[dict[str, int]] = signature.size_classes if signature.sizes else [{}]

    def call(rows: np.ndarray) -> None:
        began_ns = time.monotonic_ns()
        predictor.predict(rows)
        pace.learn(rows, time.monotonic_ns() - began_ns)

    call(zero_rows(signature, 1))
    for _ in range(3):
        for rows, of in product(sizes, classes):
            if time.monotonic_ns() > deadline:
                return pace
            with suppress(RowsRefused):  # a size that a payload has and the model does not take: requests are told so
                call(zero_rows(signature, rows, of or None))
    return pace


if __name__ == "__main__":
    main()
