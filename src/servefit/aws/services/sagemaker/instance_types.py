"""Instance types, and the profiles of servefit that stand for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OWN = "ml."
"""Before the name of a profile of this host that is told as an instance type: the SDK takes names without a dot, and
those that begin with "local", for something else."""


SERVERLESS = "serverless"
"""Stands among the instance types of a job for all its configurations that are serverless, which have no type."""


def serverless_configurations(asked: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the serverless configurations that a request for a job has.

    Example:
        >>> given = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
        >>> serverless_configurations({"InputConfig": {"EndpointConfigurations": [{"ServerlessConfig": given}]}})
        [{'MemorySizeInMB': 2048, 'MaxConcurrency': 5}]
    """
    configurations = asked["InputConfig"].get("EndpointConfigurations", ())
    return [each["ServerlessConfig"] for each in configurations if "ServerlessConfig" in each]


def type_of(profile: str) -> str:
    """Return the instance type that a profile of this host is told as.

    Example:
        >>> type_of("local-1c")
        'ml.local-1c'
    """
    return f"{_OWN}{profile}"


def profile_of(instance_type: str, mapped: Mapping[str, str]) -> str:
    """Return the profile of an instance type: the one that it is ``mapped`` to, or that of its name.

    Example:
        >>> profile_of("ml.m5.4xlarge", {"ml.m5.4xlarge": "local-2c"}), profile_of("ml.local-1c", {})
        ('local-2c', 'local-1c')
    """
    own = instance_type.removeprefix(_OWN) if instance_type.startswith(f"{_OWN}local-") else instance_type
    return mapped.get(instance_type, own)
