"""``--log-level``, an option of every command: the level of what servefit logs on stderr while it works.

Code logs under names below ``servefit``, as Python's own logging has it. Only the command line says where that goes: a
program that uses servefit configures logging itself.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from servefit.cli.completion import one_of
from servefit.cli.signatures import option, with_parameters
from servefit.errors import SpecError
from servefit.option_panels import OUTPUT
from servefit.showing import one_line, printable

LEVELS = ("debug", "info", "warning", "error")
DEFAULT = "warning"

LogLevelOption = Annotated[
    str | None,
    option(
        f"What is logged on stderr: {', '.join(LEVELS)}. Default {DEFAULT}.", OUTPUT, "LEVEL", complete=one_of(*LEVELS)
    ),
]


def log_to_stderr(level: str) -> None:
    """Log what is of ``level`` or above, in place of what was logged so far. Raises SpecError for an unknown level."""
    if level.lower() not in LEVELS:
        raise SpecError.unknown("log-level", level, LEVELS)
    logger = logging.getLogger("servefit")
    for earlier in [handler for handler in logger.handlers if isinstance(handler, _Stderr)]:
        logger.removeHandler(earlier)
    logger.addHandler(_Stderr())
    logger.setLevel(level.upper())


def with_log_level(command: Callable[..., None]) -> Callable[..., None]:
    """Return ``command`` with the option added, which takes effect before anything else."""

    @functools.wraps(command)
    def run(*arguments: Any, log_level: str | None = None, **options: Any) -> None:
        if log_level is not None:
            log_to_stderr(log_level)
        command(*arguments, **options)

    option = inspect.Parameter("log_level", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=LogLevelOption)
    return with_parameters(run, command, added=[option])


class _OneLine(logging.Formatter):
    """Formats what is logged as a line, and a traceback as the lines that it has."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - a name of logging's
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return printable(super().formatException(ei))


class _Stderr(logging.Handler):
    """Writes to what stderr is at the time: under a live display that is rich's, which prints above it. What is logged
    as ``plain`` is a sentence for a person."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_OneLine("%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        # What is logged is no reason for a command to fail.
        with suppress(OSError):
            if getattr(record, "plain", False):
                from servefit.cli.output import print_note

                print_note(record.getMessage())
            else:
                sys.stderr.write(f"{self.format(record)}\n")
