"""Fetches a script from the npm registry: the version that is named, if its digest is the one that is known."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

_FETCH_S = 300
"""Time for npm to fetch a package of 20 MB: enough at 1 Mbit/s and more. Chosen, not measured."""


class NpmError(Exception):
    """There is no npm, it could not fetch the package, or the script is another one than the known one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NpmScript:
    """The file ``path`` of ``version`` of a ``package``. ``sha256`` is the digest of ``content``: the licence of the
    package in a comment, and the script."""

    title: str
    package: str
    version: str
    path: str
    sha256: str

    def is_content(self, content: bytes) -> bool:
        """Return whether this is the script, with its licence."""
        return hashlib.sha256(content).hexdigest() == self.sha256

    def fetch(self) -> bytes:
        """Return the content, from npm. Raises NpmError."""
        with tempfile.TemporaryDirectory() as folder:
            content = self._packed(Path(folder))
        if not self.is_content(content):
            raise NpmError(f"npm gave another {self.title} {self.version} than the one with the digest {self.sha256}")
        return content

    def _packed(self, folder: Path) -> bytes:
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{self.package}@{self.version}"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_FETCH_S)
        except FileNotFoundError as error:
            raise NpmError(f"npm is needed to fetch {self.title} (Debian: sudo apt-get install npm)") from error
        except subprocess.CalledProcessError as error:
            raise NpmError(f"npm cannot fetch {self.title} {self.version}: {error.stderr.strip()[-500:]}") from error
        except subprocess.TimeoutExpired as error:
            raise NpmError(f"npm did not fetch {self.title} {self.version} within {_FETCH_S} s") from error
        [package] = folder.glob("*.tgz")
        with tarfile.open(package) as archive:
            licence, script = (archive.extractfile(f"package/{name}") for name in ("LICENSE", self.path))
            if licence is None or script is None:
                raise NpmError(f"the package of {self.title} {self.version} does not have the script and its licence")
            return f"/*! {self.title}\n\n".encode() + licence.read() + b"*/\n" + script.read()
