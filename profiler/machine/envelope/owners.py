"""The names of envelopes, which say who owns them.

An envelope is named after the process that opened it, so that any later servefit can tell one that is in use from one
whose owner was killed before it could clean up.
"""

from __future__ import annotations

import re
import secrets

from servefit import processes

_NAME = re.compile(rf"servefit-({processes.MARK})-\d+")
_NUMBER_BITS = 48
"""Of 5,000 envelopes of a process two have the same number once in 2 x 10^7 times."""


def envelope_name() -> str:
    """Return a new ``servefit-MARK-NUMBER`` of this process (see ``processes``).

    The namespace in a mark counts: a container and its host may see each other's groups, and must not take each other's
    process ids for their own. The number tells the envelopes of a process apart, and is drawn, since several threads
    may open them at the same time.
    """
    return f"{_own_prefix()}{secrets.randbits(_NUMBER_BITS)}"


def is_own(name: str) -> bool:
    """Return whether ``name`` is that of an envelope of this process."""
    return name.startswith(_own_prefix())


def is_abandoned(name: str) -> bool:
    """Return whether ``name`` is that of an envelope whose owner is dead. False for any other name."""
    match = _NAME.fullmatch(name)
    return match is not None and processes.is_abandoned(match[1])


def _own_prefix() -> str:
    return f"servefit-{processes.own_mark()}-"
