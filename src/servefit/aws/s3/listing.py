"""The keys of a bucket in S3's order, a page at a time."""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.aws.s3.places import FOLDER_MARK, MAX_KEY_BYTES
from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from servefit.aws.s3.places import Places

MAX_KEYS = 1000
"""Of S3: a page has no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``keys`` are objects, ``prefixes`` what stands for those behind a delimiter; ``after`` is the last of both, None
    where the page is the last."""

    keys: tuple[str, ...]
    prefixes: tuple[str, ...]
    after: str | None


def page(
    places: Places, bucket: str, *, prefix: str = "", delimiter: str = "", after: str = "", most: int = MAX_KEYS
) -> Page:
    """Return the first ``most`` keys and prefixes that come behind ``after``."""
    folder = places.bucket(bucket)
    keys: list[str] = []
    prefixes: list[str] = []
    last = ""
    for key in sorted(_keys(places, folder, prefix), key=str.encode):
        entry, is_prefix = key, False
        if delimiter and (end := key.find(delimiter, len(prefix))) >= 0:
            entry, is_prefix = key[: end + len(delimiter)], True
        if entry.encode() <= after.encode() or (is_prefix and prefixes and prefixes[-1] == entry):
            continue
        if len(keys) + len(prefixes) >= min(most, MAX_KEYS):
            return Page(keys=tuple(keys), prefixes=tuple(prefixes), after=last)
        (prefixes if is_prefix else keys).append(entry)
        last = entry
    return Page(keys=tuple(keys), prefixes=tuple(prefixes), after=None)


def token_of(after: str) -> str:
    return base64.urlsafe_b64encode(after.encode()).decode()


def after_token(token: str) -> str:
    """Return what :func:`token_of` was given. Raises ApiError for a token of something else."""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise ApiError("InvalidArgument", "The continuation token provided is incorrect") from error


def _keys(places: Places, bucket: Path, prefix: str) -> list[str]:
    """Return all keys with a prefix. Of folders only those are entered that may have some."""
    parts = prefix.split("/")[:-1]
    if any(part in ("", ".", "..") for part in parts) or "\0" in prefix or len(prefix.encode()) > MAX_KEY_BYTES:
        return []
    begin = bucket.joinpath(*parts)
    if not places.is_inside(begin):
        return []
    keys = []
    for folder, _, names in os.walk(begin):
        for name in names:
            file = Path(folder, name)
            key = file.relative_to(bucket).as_posix()
            if name == FOLDER_MARK:
                key = key.removesuffix(FOLDER_MARK)
            if key and key.startswith(prefix) and is_text(key) and _is_object(places, file):
                keys.append(key)
    return keys


def _is_object(places: Places, file: Path) -> bool:
    """Return whether a file is one, or a link to one within the root. Another kind of file is no object."""
    try:
        mode = file.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and places.is_inside(file) and file.is_file())


def is_text(name: str) -> bool:
    """Return whether the name of a file is text: it may be any bytes, and then it is no key."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
