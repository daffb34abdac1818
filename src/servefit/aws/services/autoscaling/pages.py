"""Pages of what Application Auto Scaling lists, with its limits and its error for a token of another list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from servefit.aws.services.pages import one_page
from servefit.aws.wire.errors import ApiError, invalid

_T = TypeVar("_T")


def page_of(given: Mapping[str, Any], operation: str, kept: list[_T], *, most: int) -> tuple[list[_T], str | None]:
    """Return a page of at most ``most``, and the token of the next one, None where there is none.

    Raises ApiError: ValidationException for another number, and for a dimension without a resource;
    InvalidNextTokenException.
    """
    asked = given.get("MaxResults", most)
    if not 1 <= asked <= most:
        raise invalid(f"MaxResults must be between 1 and {most}.")
    if "ScalableDimension" in given and not (given.get("ResourceId") or given.get("ResourceIds")):
        raise invalid("A resource ID must be given with a scalable dimension.")
    try:
        return one_page({**given, "MaxResults": asked}, operation, kept)
    except ApiError as error:
        raise ApiError("InvalidNextTokenException", error.message) from error
