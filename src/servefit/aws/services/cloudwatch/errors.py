"""The errors of CloudWatch. Each operation has its own code for the same mistake."""

from __future__ import annotations

from servefit.aws.wire.errors import ApiError


def bad_value(message: str) -> ApiError:
    return ApiError("InvalidParameterValue", message)


def bad_combination(message: str) -> ApiError:
    return ApiError("InvalidParameterCombination", message)


def bad_request(message: str) -> ApiError:
    """Return what GetMetricData and GetMetricWidgetImage answer to whatever is wrong."""
    return ApiError("ValidationError", message)
