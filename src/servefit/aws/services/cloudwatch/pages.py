"""Pages, as CloudWatch has them: a fixed number of things at most, and the token of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from servefit.aws.services.pages import one_page
from servefit.aws.wire.errors import ApiError

_T = TypeVar("_T")


def page(
    request: Mapping[str, Any], operation: str, kept: list[_T], *, most: int, code: str
) -> tuple[list[_T], str | None]:
    """Return ``most`` things at most, and the token of the next page, None where there is none. Raises ApiError of that
    code for the token of another call."""
    try:
        return one_page({**request, "MaxResults": most}, operation, kept)
    except ApiError as error:
        raise ApiError(code, "Request parameter NextToken is invalid") from error
