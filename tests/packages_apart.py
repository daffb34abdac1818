"""Packages in folders of their own, beside the environment of the tests: they are installed without asking for their
requirements, which contradict those of servefit or one another, or are many and large. Only whoever looks into such a
folder sees them.

    python tests/packages_apart.py LIST...

installs the versions that are listed in these files, unless that was done before.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path


def packages_apart(listed: Path) -> Path:
    """Return the folder with the packages that are ``listed`` in a file of requirements. It is filled from the package
    index where it is not there yet, in some seconds. Raises CalledProcessError, after what pip said of it."""
    digest = hashlib.sha256(f"{sys.version} {listed.read_text()}".encode()).hexdigest()
    folder = Path(sys.prefix) / f"packages-{digest[:16]}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=sys.prefix, prefix="packages-") as unfinished:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
            alone = ["--no-deps", "--ignore-requires-python", "--target", f"{unfinished}/packages"]
            subprocess.run([*pip, *alone, "--requirement", str(listed)], check=True, stdout=sys.stderr)
            try:
                Path(unfinished, "packages").rename(folder)
            except OSError:
                # Another process was first.
                if not folder.is_dir():
                    raise
    return folder


if __name__ == "__main__":
    for name in sys.argv[1:]:
        packages_apart(Path(name))
