"""What a client has to know to reach the server: variables of its environment, and a configuration of the SDK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from servefit.aws.wire.destination import REGION
from servefit.state import write_atomically

if TYPE_CHECKING:
    from servefit.aws.wire.signatures import Secret

_CONFIGURATION = """\
# Written by servefit api, for the SageMaker Python SDK: without a bucket of its own it asks AWS which account it is in.
SchemaVersion: "1.0"
SageMaker:
  PythonSDK:
    Modules:
      Session:
        DefaultS3Bucket: {bucket}
"""

ANY_KEY = "servefit"
"""Key and secret where the server checks no signatures: clients sign with whatever they have."""


def default_bucket(account: str, region: str = REGION) -> str:
    """Return the bucket that the SDK would take by itself."""
    return f"sagemaker-{region}-{account}"


def client_environment(address: str, *, folder: Path, account: str, secret: Secret | None = None) -> dict[str, str]:
    """Write the configuration of the SDK into ``folder``, and return the variables for clients of the server at
    ``address``. A secret is not among them. Raises StateError."""
    path = folder / "sagemaker.yaml"
    write_atomically(path, _CONFIGURATION.format(bucket=default_bucket(account)).encode())
    keys = {"AWS_ACCESS_KEY_ID": ANY_KEY if secret is None else secret.key}
    if secret is None:
        keys["AWS_SECRET_ACCESS_KEY"] = ANY_KEY
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_DEFAULT_REGION": REGION,
        **keys,
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(path),
    }
