"""The answers of a worker: finds out what a request asks for, and has it answered by the protocol, the predictor or the
counters. How requests come and replies go is the business of ``connection``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.serving.messages import Inference, PendingReply, Refused, Reply, Request, TakesLong
from servefit.serving.metrics import Metrics
from servefit.serving.probes import check_reply
from servefit.serving.protocols import metadata, open_inference, sagemaker
from servefit.serving.replying import RETRY_AFTER, refusal
from servefit.serving.routing import Action, route
from servefit.serving.rows import RowSizeLimit

if TYPE_CHECKING:
    from servefit.serving.batching import Batching
    from servefit.serving.codec_client import CodecClient
    from servefit.serving.config import EndpointConfig
    from servefit.serving.counters import Counters

_CHECKS = frozenset({Action.PING, Action.LIVE, Action.READY, Action.MODEL_READY, Action.METRICS})
"""Always answered, whatever else there is to do."""


class Endpoint:
    """Answers requests of the endpoint that ``config`` describes. ``draining`` says that it is about to stop."""

    def __init__(self, config: EndpointConfig, batching: Batching, codec: CodecClient, counters: Counters) -> None:
        self._config = config
        self._batching = batching
        self._codec = codec
        self._counters = counters
        self._metrics = Metrics(config, counters)
        self._row_size = RowSizeLimit(config.signature, config.limits)
        self.draining = False

    def respond(self, request: Request, pending: PendingReply) -> None:
        """Have ``pending`` answered, now or later."""
        config = self._config
        try:
            action = route(request.method, request.path, config.name)
            if action is Action.INVOKE:
                self._batching.check_room()
                self._submit(sagemaker.decode(request, config.signature, config.limits, at_once=True), pending)
            elif action is Action.INFER:
                self._batching.check_room()
                self._submit(open_inference.decode(request, config, at_once=True), pending)
            else:
                pending.answer(self._reply(action))
        except TakesLong:
            self._decode_elsewhere(request, action, pending)
        except Refused as refused:
            pending.answer(refusal(refused))

    def _decode_elsewhere(self, request: Request, action: Action, pending: PendingReply) -> None:
        """Have ``pending`` answered once its long body is decoded, if there is room for it."""
        try:
            if action is Action.INVOKE:
                sagemaker.check_first_row(request, self._config.signature, self._config.limits)
            self._codec.check_room(request.body)
        except Refused as refused:
            pending.answer(refusal(refused))
        else:
            self._codec.decode(request, action, pending, self._submit_decoded)

    def _submit(self, inference: Inference, pending: PendingReply) -> None:
        """Have ``pending`` answered. Raises Refused for rows that are too large."""
        self._row_size.check(inference.rows)
        self._batching.submit(inference, pending)

    def _submit_decoded(self, inference: Inference, pending: PendingReply) -> None:
        """Have ``pending`` answered, if there is room for its rows, which may be larger than its body was."""
        try:
            self._batching.check_room()
            self._submit(inference, pending)
        except Refused as refused:
            pending.answer(refusal(refused))

    def respond_to_check(self, request: Request, pending: PendingReply) -> None:
        """Have ``pending`` answered if it only asks how the endpoint is; there is no room for more."""
        try:
            action = route(request.method, request.path, self._config.name)
            if action not in _CHECKS:
                raise Refused(503, "too many connections are open, try again later", headers=RETRY_AFTER)
            pending.answer(self._reply(action))
        except Refused as refused:
            pending.answer(refusal(refused))

    def _reply(self, action: Action) -> Reply:
        """Return the reply to a request that needs no predictions."""
        config = self._config
        match action:
            case Action.PING | Action.LIVE | Action.READY | Action.MODEL_READY:
                # The first two are about being alive: nothing needs to restart an endpoint that is about to stop.
                if self.draining and action in (Action.READY, Action.MODEL_READY):
                    raise Refused(503, "the endpoint is about to stop")
                return check_reply(action, config.name)
            case Action.SERVER_METADATA:
                return metadata.server_metadata(config)
            case Action.MODEL_METADATA:
                return metadata.model_metadata(config)
            case Action.MODEL_CONFIG:
                return metadata.model_config(config)
            case Action.MODEL_STATS:
                return metadata.model_stats(config, self._counters.total())
            case Action.REPOSITORY_INDEX:
                return metadata.repository_index(config)
            case _:
                return self._metrics.reply()
