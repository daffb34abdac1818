"""A server of the API as a person starts it, and clients of boto3 that know nothing but its address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3  # noqa: F401 - it opens a socket as it is imported, which no unit test may
from tests.tiny_model import ROWS, tiny_model

OPTIONS = ("--allow-noise", "--map", "ml.c5.large=local-1c")
"""Whatever else runs beside the tests, a job ends with recommendations."""

ROLE = "arn:aws:iam::123456789012:role/servefit"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that answers, and the folder with its state."""

    address: str
    home: Path
    process: subprocess.Popen[str]

    def client(self, service: str, **options: Any) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.address,
            region_name="us-east-1",
            aws_access_key_id="servefit",
            aws_secret_access_key=options.pop("secret", "servefit"),
            config=Config(retries={"total_max_attempts": 1}, **options),
        )

    def put_model(self, folder: Path, *, bucket: str = "models", key: str = "tiny/model.ubj") -> tuple[str, str]:
        """Upload a tiny model and rows for it; return the URLs of both."""
        s3 = self.client("s3")
        s3.create_bucket(Bucket=bucket)
        s3.upload_file(str(tiny_model(folder / "model.ubj")), bucket, key)
        np.savetxt(folder / "payload.csv", ROWS, delimiter=",", fmt="%g")
        s3.upload_file(str(folder / "payload.csv"), bucket, "tiny/payload.csv")
        return f"s3://{bucket}/{key}", f"s3://{bucket}/tiny/payload.csv"


@contextmanager
def started(home: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Start a server, wait until it answers, and end it as Ctrl-C does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "servefit", "api", "--port", "0", *options],
        env={**os.environ, "SERVEFIT_HOME": str(home), **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = ""
        for line in process.stdout:
            if line.startswith("export AWS_ENDPOINT_URL="):
                address = line.partition("=")[2].strip()
            if line.startswith("export SAGEMAKER_USER_CONFIG_OVERRIDE="):
                break
        assert address, "the server did not come up"
        yield Server(address=address, home=home, process=process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(60)
        process.stdout.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests here that do not end theirs: what a test makes has a name that no other uses."""
    with started(tmp_path_factory.mktemp("home"), *OPTIONS) as running:
        yield running
