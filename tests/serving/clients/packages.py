"""KServe and MLServer with what their clients import, in a folder of their own.

Both bring servers too, whose requirements contradict each other and those of servefit, and neither is declared to run
with the newest Python. So the versions in ``packages.txt`` are installed without asking for their requirements, beside
the environment of the tests, and only the processes that run the clients see them.

    python tests/serving/clients/packages.py

installs them, unless that was done before.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

_LIST = Path(__file__).with_name("packages.txt")


def client_packages() -> Path:
    """The folder, filled from the package index where it is not there yet, in some seconds."""
    digest = hashlib.sha256(f"{sys.version} {_LIST.read_text()}".encode()).hexdigest()
    folder = Path(sys.prefix) / f"clients-{digest[:16]}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=sys.prefix, prefix="clients-") as unfinished:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
            alone = ["--no-deps", "--ignore-requires-python", "--target", f"{unfinished}/packages"]
            subprocess.run([*pip, *alone, "--requirement", str(_LIST)], check=True, stdout=sys.stderr)
            try:
                Path(unfinished, "packages").rename(folder)
            except OSError:
                # Another process was first.
                if not folder.is_dir():
                    raise
    return folder


if __name__ == "__main__":
    client_packages()
