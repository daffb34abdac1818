"""A call of an operation, the names of resources in it, and the contract of a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

ACCOUNT = "123456789012"
"""The account that resources belong to unless the server is told another: AWS's own examples have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """``given`` is the input of the operation, as the service model has it; ``region`` is where the caller means to
    be."""

    given: Mapping[str, Any]
    region: str
    account: str = ACCOUNT

    def arn(self, resource: str, *, service: str = "sagemaker") -> str:
        """Return the Amazon Resource Name of "kind/name"."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


Operation: TypeAlias = Callable[[Call], Mapping[str, Any]]

Operations: TypeAlias = Mapping[str, Operation]
"""The operations of a service by their names in the service model."""


def name_in(arn_or_name: str) -> str:
    """Return the name of a resource that is named by it or by its ARN.

    Example:
        >>> name_in("arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud/1")
        'fraud/1'
    """
    return arn_or_name.partition("/")[2] if arn_or_name.startswith("arn:") else arn_or_name
