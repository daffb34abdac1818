"""The places where the pip of this environment looks for packages, by its files, its variables and its own defaults."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from servefit.errors import ServefitError

_LINE = re.compile(r"(?P<section>:env:|[\w-]+)\.(?P<name>[\w-]+)=(?P<value>.*)")
_SECTIONS = ("global", "install", ":env:")
"""The later ones win [pip config]."""

_TRUE = ("y", "yes", "t", "true", "on", "1")
_DEFAULT_INDEX = re.compile(r"--index-url <url>.*?\(default\s+(?P<url>\S+)\)", re.DOTALL)


class PipUnknown(ServefitError):
    """The settings of pip cannot be found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipSettings:
    """``indexes`` are URLs without a slash at the end, ``links`` pages or folders with files. Hosts that are
    ``trusted`` may do without TLS or a certificate. ``certificates`` is a file or a folder of those that are believed,
    ``proxy`` a URL; both None where pip leaves them to the system."""

    indexes: tuple[str, ...]
    links: tuple[str, ...] = ()
    trusted: frozenset[str] = frozenset()
    certificates: str | None = None
    proxy: str | None = None

    @classmethod
    def read(cls) -> Self:
        """Ask pip for its settings. Raises PipUnknown."""
        options = _install_options(_run_pip("config", "list"))
        indexes: tuple[str, ...] = ()
        if options.get("no-index", "").lower() not in _TRUE:
            indexes = (options.get("index-url") or _default_index(), *options.get("extra-index-url", "").split())
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        return cls(
            indexes=tuple(dict.fromkeys(url.rstrip("/") for url in indexes)),
            links=tuple(options.get("find-links", "").split()),
            trusted=frozenset(options.get("trusted-host", "").split()),
            certificates=options.get("cert") or bundle,
            proxy=options.get("proxy"),
        )


def _install_options(listing: str) -> Mapping[str, str]:
    """Return the options that hold for ``pip install``, by name, from the output of ``pip config list``."""
    options: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for section, name, value in _lines(listing):
        options.setdefault(section, {})[name] = value
    return {name: value for section in _SECTIONS for name, value in options[section].items()}


def _lines(listing: str) -> Iterator[tuple[str, str, str]]:
    for line in listing.splitlines():
        if match := _LINE.fullmatch(line):
            try:
                yield match["section"], match["name"], str(ast.literal_eval(match["value"]))
            except (SyntaxError, ValueError) as error:
                raise PipUnknown(f"pip config list says {match['name']} in a way that is not understood") from error


def _default_index() -> str:
    match = _DEFAULT_INDEX.search(_run_pip("install", "--help"))
    if match is None:
        raise PipUnknown("pip install --help does not say which index it asks")
    return match["url"]


def _run_pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    # Help is folded at the width of a terminal.
    environment = {**os.environ, "COLUMNS": "1000", "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise PipUnknown(f"pip cannot be asked: {lines[-1] if lines else 'it said nothing'}")
    return done.stdout
