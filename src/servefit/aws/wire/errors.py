"""Errors as AWS's services answer them."""

from __future__ import annotations


class ApiError(Exception):
    """The answer to a request that cannot be carried out: ``code`` is what clients tell errors by, ``status`` the HTTP
    status. ``fields`` are members of the error beside its message.

    Example:
        >>> error = ApiError("ResourceNotFound", "there is no job fraud")
        >>> error.code, error.status
        ('ResourceNotFound', 400)
    """

    def __init__(self, code: str, message: str, *, status: int = 400, fields: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields or {}


def invalid(message: str) -> ApiError:
    """Return the error for a request that the service model allows, and its operation does not."""
    return ApiError("ValidationException", message)


def unreadable(message: str) -> ApiError:
    """Return the error for a body that is not what the protocol says."""
    return ApiError("SerializationException", message)
