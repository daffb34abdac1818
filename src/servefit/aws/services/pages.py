"""Lists of resources, as all List operations have them: filters by name and time, an order, and pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from servefit.aws.wire.errors import invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call
    from servefit.aws.state.resources import Resource

_T = TypeVar("_T")

USUAL_RESULTS = 10
"""Of AWS, where a caller does not say."""

_PAGING = ("MaxResults", "NextToken")


def listed(
    call: Call,
    operation: str,
    resources: Iterable[Resource],
    *,
    summary: Callable[[Resource], Mapping[str, Any]],
    into: str,
    orders: Mapping[str, Callable[[Resource], Any]] | None = None,
    usual_order: str = "CreationTime",
    usual_descending: bool = True,
) -> dict[str, Any]:
    """Return a page of what a call of a List operation asks for, under the name ``into``.

    Raises ApiError, ValidationException, for times the wrong way round and for the token of another list.
    """
    request = call.given
    check_times(request)
    keys = {"CreationTime": lambda resource: resource.created, "Name": lambda resource: resource.name, **(orders or {})}
    order = keys.get(request.get("SortBy", usual_order), keys["CreationTime"])
    descending = request["SortOrder"] == "Descending" if "SortOrder" in request else usual_descending
    kept = [resource for resource in resources if _is_asked_for(request, resource)]
    kept.sort(key=lambda resource: (order(resource), resource.name), reverse=descending)
    page, token = one_page(request, operation, kept)
    return {into: [summary(resource) for resource in page], "NextToken": token}


def one_page(request: Mapping[str, Any], operation: str, kept: list[_T]) -> tuple[list[_T], str | None]:
    """Return a page of a list and the token of the next one, None where there is none. Raises ApiError for a token of
    another list."""
    asked = {name: value for name, value in request.items() if name not in _PAGING}
    mark = sha256(repr((operation, sorted(asked.items(), key=lambda item: item[0]))).encode()).hexdigest()[:16]
    start = 0 if request.get("NextToken") is None else _start(request["NextToken"], mark)
    end = start + request.get("MaxResults", USUAL_RESULTS)
    token = base64.urlsafe_b64encode(msgspec.json.encode([mark, end])).decode() if end < len(kept) else None
    return kept[start:end], token


def check_times(request: Mapping[str, Any]) -> None:
    """Raise ApiError for a time after which something is to be that is not before the one before which it is to be."""
    for what in ("CreationTime", "LastModifiedTime"):
        after, before = request.get(f"{what}After"), request.get(f"{what}Before")
        if after is not None and before is not None and after > before:
            raise invalid(f"{what}After must be before {what}Before.")


def _is_asked_for(request: Mapping[str, Any], resource: Resource) -> bool:
    name = request.get("NameContains", "")
    return (
        name.lower() in resource.name.lower()
        and _is_between(resource.created, request.get("CreationTimeAfter"), request.get("CreationTimeBefore"))
        and _is_between(resource.modified, request.get("LastModifiedTimeAfter"), request.get("LastModifiedTimeBefore"))
    )


def _is_between(seconds: float, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or seconds >= after.timestamp()) and (before is None or seconds <= before.timestamp())


def _start(token: str, mark: str) -> int:
    try:
        other, start = msgspec.json.decode(base64.b64decode(token, altchars=b"-_", validate=True), type=tuple[str, int])
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise invalid("NextToken is not one of this server.") from error
    if other != mark:
        raise invalid("NextToken is of another list: leave the other parameters as they were.")
    return start
