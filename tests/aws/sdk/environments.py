"""Environments with clients of AWS that are not installed beside servefit: the SageMaker Python SDK brings ninety
packages, and the AWS CLI takes one version of botocore alone.

They are beside the environment of the tests, and made once, from where pip would get packages. Only processes that run
these clients see them.

    python tests/aws/sdk/environments.py

makes them, unless that was done before.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

_SCRIPT = Path(__file__).parents[3] / "scripts" / "environment.sh"

SDK = "sagemaker==2.257.7"
"""The last of version 2 that the example is written for."""

NEWEST = (SDK, "boto3", "ipykernel", "pandas", "xgboost-cpu")
"""For the example, with the newest boto3 that there is when the environment is made."""

OLDEST = (SDK, "boto3==1.42.2", "pandas")
"""The oldest boto3 that the SDK takes."""

QUERY = ("boto3==1.36.0", "pandas")
"""A boto3 that speaks the query protocol to CloudWatch. The SDK takes none of those any more."""

OBJECTS = ("awscli==1.46.3", "s3fs==2026.9.0", "boto3[crt]==1.43.117")
"""What reads and writes objects. With the extra, boto3 computes the newer checksums."""

_INSTALL = """
source "$1"
install_with_uv "$2" "${@:3}" || "$2/bin/python" -m pip install --quiet --no-compile "${@:3}"
"""


def sdk_python(packages: tuple[str, ...]) -> Path:
    """Return the Python of the environment with these packages, which is made where it is not there yet: in some
    seconds, or a minute where the packages have to be fetched."""
    digest = hashlib.sha256(" ".join([sys.version, *packages]).encode()).hexdigest()
    folder = Path(sys.prefix) / f"sdk-{digest[:16]}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=sys.prefix, prefix="sdk-") as unfinished:
            made = Path(unfinished, "environment")
            venv.create(made, with_pip=True)
            install = ["bash", "-euo", "pipefail", "-c", _INSTALL, "install", str(_SCRIPT), str(made), *packages]
            subprocess.run(install, check=True, stdout=sys.stderr)
            try:
                made.rename(folder)
            except OSError:
                # Another process was first.
                if not folder.is_dir():
                    raise
    return folder / "bin" / "python"


if __name__ == "__main__":
    for each in (NEWEST, OLDEST, QUERY, OBJECTS):
        sdk_python(each)
