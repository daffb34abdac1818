"""Finds plug-ins by name: in servefit's own table, and what other packages offer under an entry point.

A package adds something by pointing an entry point of a group (``servefit.backends``, ``servefit.arrivals``, ...) at a
class. Nothing is imported before it is asked for by name. What a plug-in has to be, and where it may run, is for the
module that owns its table.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from servefit.errors import SpecError
from servefit.showing import one_line

if TYPE_CHECKING:
    from importlib import metadata

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed package, as far as it says what it is."""

    name: str
    version: str
    folder: str

    @classmethod
    def of(cls, distribution: metadata.Distribution | None) -> Self:
        name, version, folder = "", "", ""
        # Metadata may be missing, or be anything.
        with suppress(KeyError, TypeError, ValueError, OSError):
            if distribution is not None:
                folder = str(distribution.locate_file(""))
                name, version = distribution.metadata["Name"] or "", distribution.metadata["Version"] or ""
        return cls(name=name or "without a name", version=version, folder=folder)

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIns:
    """The things of one kind. ``field`` is what errors call them ("backend"), ``group`` the group of entry points, and
    ``built_in`` servefit's own, as "module:attribute" by name."""

    field: str
    group: str
    built_in: Mapping[str, str]

    def names(self) -> tuple[str, ...]:
        """Return the names of all: the built-in ones first, then those of other packages in alphabetical order."""
        return (*self.built_in, *sorted(self._offers()))

    def may_be_offered(self) -> bool:
        """Return whether a package in a folder of the path names the group in its entry points. It takes a tenth of
        the time of :meth:`names`, which imports ``importlib.metadata``."""
        header = f"[{self.group}]".encode()
        return any(header in content for folder in sys.path for content in _entry_points_in(folder))

    def entry_point(self, name: str) -> metadata.EntryPoint:
        """Return where another package offers ``name``.

        Raises:
            SpecError: nobody offers it, or several packages do.
        """
        offers = self._offers().get(name)
        if offers is None:
            raise SpecError.unknown(self.field, name, self.names())
        if len(offers) > 1:
            packages = " and ".join(sorted(str(Package.of(offer.dist)) for offer in offers))
            raise SpecError(self.field, name, f"is offered by {packages}", remedy="uninstall all but one of them")
        return offers[0]

    def imported(self, name: str) -> Any:
        """Return the object that ``name`` leads to, imported into this process. A built-in name cannot be taken over.

        Raises:
            SpecError: nobody offers it, several packages do, or the package that does cannot be imported.
        """
        if name in self.built_in:
            module, _, attribute = self.built_in[name].partition(":")
            return getattr(import_module(module), attribute)
        point = self.entry_point(name)
        try:
            return point.load()
        except (Exception, SystemExit) as error:
            package = Package.of(point.dist)
            raised = (
                "it ended Python"
                if isinstance(error, SystemExit)
                else f"{type(error).__name__}: {one_line(str(error))}"
            )
            raise SpecError(
                self.field,
                name,
                f"cannot be imported from {package}: {raised}",
                remedy=f"update or uninstall {package.name}",
            ) from error

    def package_of(self, name: str) -> str:
        """Return the package that offers ``name``, with its version, in words. Raises SpecError as for
        :meth:`entry_point`."""
        if name in self.built_in:
            self.warn_of_ignored()
            return "servefit"
        return str(Package.of(self.entry_point(name).dist))

    def warn_of_ignored(self) -> None:
        """Log a warning, once in a process, for each package that offers a built-in name."""
        self._offers()

    def _offers(self) -> dict[str, list[metadata.EntryPoint]]:
        """Return the entry points of other packages, by name, and warn of those that are ignored. (One unreadable file
        makes ``importlib.metadata.entry_points`` fail for all.)"""
        from importlib import metadata

        offers: dict[str, list[metadata.EntryPoint]] = {}
        folders: set[tuple[str, str]] = set()
        for distribution in metadata.distributions():
            try:
                points = distribution.entry_points.select(group=self.group)
            except (TypeError, ValueError, OSError) as error:
                _warn_once(Package.of(distribution), f"cannot be read: {error}")
                continue
            for point in points:
                if point.name in self.built_in:
                    taken = f"offer the {self.field} {point.name!r}, which is ignored: servefit has one of that name"
                    _warn_once(Package.of(distribution), taken)
                    continue
                # As on import, the first package on the path hides others of the same name.
                key = (Package.of(distribution).name, point.name)
                if key not in folders:
                    folders.add(key)
                    offers.setdefault(point.name, []).append(point)
        return offers


def raised_text(error: BaseException) -> str:
    """Return what code of another package did that ended with ``error``, in printable words that follow its name."""
    if isinstance(error, SystemExit):
        return "ended Python"
    words = " ".join(f"raised {type(error).__name__}: {error}".split())
    return "".join(character for character in words if character.isprintable())


def _entry_points_in(folder: str) -> Iterator[bytes]:
    """Yield the files of entry points of the packages in a folder of the path."""
    with suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.endswith("-info"):
                with suppress(OSError), open(f"{entry.path}/entry_points.txt", "rb") as file:  # noqa: PTH123 - faster
                    yield file.read()


@cache
def _warn_once(package: Package, problem: str) -> None:
    _log.warning("the entry points of %s, installed in %s, %s", package, package.folder, problem)
