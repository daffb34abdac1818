"""A server of ``servefit api``, as a person starts it, and objects that lie in its folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


ROLE = "arn:aws:iam::123456789012:role/servefit"

BUCKET = "benchmark"


@dataclass(frozen=True, kw_only=True)
class ApiServer:
    """A server that answers; ``environment`` has what it told clients to export."""

    pid: int
    home: Path
    environment: Mapping[str, str]

    @property
    def address(self) -> str:
        return self.environment["AWS_ENDPOINT_URL"]

    def client(self, service: str, **options: Any) -> Any:
        """Return a client of boto3."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.address,
            region_name="us-east-1",
            aws_access_key_id="servefit",
            aws_secret_access_key="servefit",
            **options,
        )

    def put(self, file: str | Path) -> str:
        """Copy a file into the folder of the objects, and return its URL."""
        folder = self.home / "api" / "s3" / BUCKET
        folder.mkdir(parents=True, exist_ok=True)
        copied = shutil.copy(file, folder)
        return f"s3://{BUCKET}/{Path(copied).name}"


@contextmanager
def api_server(home: Path, *options: str) -> Iterator[ApiServer]:
    """Run a server on the state folder ``home`` within the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "servefit", "api", "--port", "0", *options],
        env={**os.environ, "SERVEFIT_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told: dict[str, str] = {}
    try:
        for line in process.stdout:
            name, _, value = line.removeprefix("export ").strip().partition("=")
            told[name] = value
            if name == "SAGEMAKER_USER_CONFIG_OVERRIDE":
                break
        yield ApiServer(pid=process.pid, home=home, environment=told)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process.stdout.close()
