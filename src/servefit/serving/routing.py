"""The table of paths, and of what each asks for. The protocols behind the paths are in ``protocols``; a path is looked
up, never parsed, unless it is unknown and the answer has to say what would have been right."""

from __future__ import annotations

from enum import Enum, auto
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from servefit.serving.messages import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "1"
"""The one version that every model here has."""


class Action(Enum):
    """The things that a request may ask for."""

    PING = auto()
    INVOKE = auto()
    LIVE = auto()
    READY = auto()
    SERVER_METADATA = auto()
    MODEL_METADATA = auto()
    MODEL_READY = auto()
    MODEL_CONFIG = auto()
    MODEL_STATS = auto()
    INFER = auto()
    REPOSITORY_INDEX = auto()
    METRICS = auto()


_POSTED = frozenset({Action.INVOKE, Action.INFER, Action.REPOSITORY_INDEX})


def route(method: bytes, path: bytes, name: str) -> Action:
    """Return what is asked of the endpoint whose model is called ``name``; it may have dashes for underscores, which
    SageMaker has none of in names.

    Raises Refused: 404 for an unknown path, model or version, 405 (with Allow) for a known path asked in another way.
    """
    paths = _paths(name)
    action = paths.get(path)
    if action is None:
        action = paths.get(unquote_to_bytes(path))
        if action is None:
            raise _unknown(path, name)
    if action in _POSTED:
        if method != b"POST":
            raise _not_allowed(method, path, b"POST")
    elif method not in (b"GET", b"HEAD"):
        raise _not_allowed(method, path, b"GET, HEAD")
    return action


@cache
def _paths(name: str) -> Mapping[bytes, Action]:
    of_model = {
        "": Action.MODEL_METADATA,
        "/ready": Action.MODEL_READY,
        "/config": Action.MODEL_CONFIG,
        "/stats": Action.MODEL_STATS,
        "/infer": Action.INFER,
    }
    paths = {
        "/ping": Action.PING,
        "/invocations": Action.INVOKE,
        "/v2": Action.SERVER_METADATA,
        "/v2/health/live": Action.LIVE,
        "/v2/health/ready": Action.READY,
        "/v2/models/stats": Action.MODEL_STATS,
        "/v2/repository/index": Action.REPOSITORY_INDEX,
        "/metrics": Action.METRICS,
    }
    for alias in _names(name):
        paths[f"/endpoints/{alias}/invocations"] = Action.INVOKE
        for rest, action in of_model.items():
            paths[f"/v2/models/{alias}{rest}"] = paths[f"/v2/models/{alias}/versions/{VERSION}{rest}"] = action
    return {path.encode(): action for path, action in paths.items()}


def _names(name: str) -> frozenset[str]:
    return frozenset({name, name.replace("_", "-")})


def _unknown(path: bytes, name: str) -> Refused:
    shown = unquote_to_bytes(path)[:200].decode(errors="replace")
    match shown.split("/")[1:]:
        case ["v2", "models", other, *_] | ["endpoints", other, "invocations"] if other not in _names(name):
            return Refused(404, f"model: {other!r} is not served here, only {name!r} is")
        case ["v2", "models", _, "versions", version, *_] if version != VERSION:
            return Refused(404, f"version: model {name!r} has no version {version!r}, only {VERSION!r}")
    return Refused(404, f"path: {shown!r} is not known")


def _not_allowed(method: bytes, path: bytes, allowed: bytes) -> Refused:
    way = allowed.decode().replace(", ", " or ")
    return Refused(
        405,
        f"method: {path.decode(errors='replace')} takes {way}, not {method.decode(errors='replace')}",
        headers=((b"allow", allowed),),
    )
