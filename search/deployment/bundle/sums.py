"""The digests of a bundle, as sha256sum checks them, and the name that they give to it."""

from __future__ import annotations

from hashlib import file_digest, sha256
from pathlib import Path

SUMS = "SHA256SUMS"

CHECKED = ("artifact", "lib", "model")
"""The folders whose files have to be as they were exported before an endpoint starts."""

_EDITABLE = ("endpoint.json", "requirements.lock", "run")
"""Files that say how the endpoint runs, too, and may be edited. Manifests and descriptions are not among the sums: they
name the digest of these."""

_DIGITS = 12
"""Of the digest of the sums, in names: as many as Docker and git show at first."""


def sums(folder: Path) -> str:
    """Return the text of SHA256SUMS for the bundle in ``folder``."""
    files = [path for part in CHECKED for path in (folder / part).rglob("*") if path.is_file()]
    files += [folder / name for name in _EDITABLE]
    return "".join(_line(path, path.relative_to(folder).as_posix()) for path in sorted(files))


def version_of(text: str) -> str:
    """Return the version of the bundle with these sums: two bundles that run differently have two."""
    return sha256(text.encode()).hexdigest()[:_DIGITS]


def _line(path: Path, name: str) -> str:
    with path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    # A backslash before the line says that there are some in the name.
    return f"{digest}  {name}\n" if escaped == name else f"\\{digest}  {escaped}\n"
