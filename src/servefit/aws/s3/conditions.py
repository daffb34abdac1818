"""The conditions of requests: about the version of an object that is read, copied or overwritten (RFC 9110, 13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from servefit.aws.s3.objects import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Preconditions:
    """The conditions of a request on an object; None for those that it does not have."""

    match: str | None = None
    none_match: str | None = None
    modified_since: datetime | None = None
    unmodified_since: datetime | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str], *, prefix: str = "") -> Preconditions:
        """Return the conditions in headers whose names begin with ``prefix``. A time that is none is no condition."""
        return cls(
            match=headers.get(f"{prefix}if-match"),
            none_match=headers.get(f"{prefix}if-none-match"),
            modified_since=_time(headers.get(f"{prefix}if-modified-since")),
            unmodified_since=_time(headers.get(f"{prefix}if-unmodified-since")),
        )

    def check(self, facts: Facts) -> bool:
        """Return whether the client has not got this version yet. Raises ApiError where it wants another one."""
        modified = facts.modified.replace(microsecond=0)
        if self.match is not None:
            if not _is_in(facts.etag, self.match):
                raise _failed()
        elif self.unmodified_since is not None and modified > self.unmodified_since:
            raise _failed()
        if self.none_match is not None:
            return not _is_in(facts.etag, self.none_match)
        return self.modified_since is None or modified > self.modified_since

    def check_copy(self, facts: Facts) -> None:
        """Raise ApiError where another version is to be copied."""
        if not self.check(facts):
            raise _failed()

    def check_write(self, facts: Facts | None) -> None:
        """Raise ApiError where the object, None for none, is not to be overwritten or removed."""
        if facts is not None:
            self.check_copy(facts)
        elif self.match is not None:
            raise ApiError("NoSuchKey", "The specified key does not exist.", status=404)


def is_current(facts: Facts, if_range: str | None) -> bool:
    """Return whether a range is of this version, by the header If-Range: another one is answered whole."""
    if if_range is None or if_range.strip().startswith(('"', "W/")):
        return if_range is None or if_range.strip() == facts.etag
    return _time(if_range) == facts.modified.replace(microsecond=0)


def _is_in(etag: str, listed: str) -> bool:
    """Return whether a tag is one of a list. S3 takes them without quotation marks too."""
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in listed.split(",")]
    return listed.strip() == "*" or etag.strip('"') in tags


def _time(text: str | None) -> datetime | None:
    try:
        moment = None if text is None else parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _failed() -> ApiError:
    return ApiError("PreconditionFailed", "At least one of the preconditions you specified did not hold.", status=412)
