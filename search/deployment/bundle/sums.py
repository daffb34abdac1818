"""The digests of a bundle, as sha256sum checks them."""

from __future__ import annotations

from hashlib import file_digest
from pathlib import Path

SUMS = "SHA256SUMS"

CHECKED = ("artifact", "lib", "model")
"""The folders whose files have to be as they were exported. Descriptions and manifests may be edited."""


def sums(folder: Path) -> str:
    """Return the text of SHA256SUMS for the bundle in ``folder``."""
    files = sorted(path for part in CHECKED for path in (folder / part).rglob("*") if path.is_file())
    return "".join(_line(path, path.relative_to(folder).as_posix()) for path in files)


def _line(path: Path, name: str) -> str:
    with path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    # A backslash before the line says that there are some in the name.
    return f"{digest}  {name}\n" if escaped == name else f"\\{digest}  {escaped}\n"
