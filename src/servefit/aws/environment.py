"""Settings by which a client reaches the server: variables of its environment, and a configuration of the SDK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from servefit.aws.wire.destination import REGION
from servefit.state import write_atomically

if TYPE_CHECKING:
    from servefit.aws.wire.signatures import SigningSecret

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


def client_environment(
    address: str, *, folder: Path, account: str, secret: SigningSecret | None = None
) -> dict[str, str]:
    """Write the configuration of the SDK into ``folder``, and return the variables for clients of the server at
    ``address``. A secret is not among them. Raises StateError."""
    write_atomically(_configuration(folder), _CONFIGURATION.format(bucket=default_bucket(account)).encode())
    variables = client_variables(address, folder=folder, secret=None)
    if secret is not None:
        del variables["AWS_SECRET_ACCESS_KEY"]
    return variables


def client_variables(address: str, *, folder: Path, secret: str | None) -> dict[str, str]:
    """Return the variables for clients of a server whose configuration of the SDK is written already. ``secret`` is
    what they sign with, None where that is of no matter."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ANY_KEY,
        "AWS_SECRET_ACCESS_KEY": ANY_KEY if secret is None else secret,
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(_configuration(folder)),
    }


def _configuration(folder: Path) -> Path:
    return folder / "sagemaker.yaml"
