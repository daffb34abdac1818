"""STS and IAM, as far as clients ask who they are: every client is the account of the server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servefit.aws.services.call import Call, Operations

ROLE = "servefit"
"""The role that a notebook gets where it asks for its own."""

_MADE = datetime(2017, 11, 29, tzinfo=UTC)
"""When roles were made; clients show it and do nothing with it."""


def caller_identity(call: Call) -> dict[str, Any]:
    return {
        "UserId": "SERVEFIT",
        "Account": call.account,
        "Arn": f"arn:aws:sts::{call.account}:assumed-role/{ROLE}/servefit",
    }


def role(call: Call) -> dict[str, Any]:
    """Return a role: there is one of every name."""
    name = call.given["RoleName"]
    return {
        "Role": {
            "Path": "/",
            "RoleName": name,
            "RoleId": "SERVEFIT",
            "Arn": role_arn(call.account, name),
            "CreateDate": _MADE,
        }
    }


def role_arn(account: str, name: str = ROLE) -> str:
    return f"arn:aws:iam::{account}:role/{name}"


STS: Operations = {"GetCallerIdentity": caller_identity}
IAM: Operations = {"GetRole": role}
