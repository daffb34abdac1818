"""The modules that docstrings of modules name exist under these names."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import servefit

_QUOTED = re.compile(r"``([a-z_][a-z_0-9]*(?:\.[a-z_][a-z_0-9]*)*)``")

NO_MODULES = frozenset(
    {
        "export", "null", "run", "schema", "serve", "servefit", "steps",  # commands, files and words of JSON
        "agent.env", "model.tar.gz", "servefit.arrivals",  # files and a group of entry points
        "sslkey", "sslrootcert",  # options of libpq
        "c", "e", "w", "x",  # quantities in formulas
        "treelite.gtil.predict",
    }
)  # fmt: skip
"""What openings quote beside modules and what is in their own."""


@dataclass(frozen=True, slots=True)
class Opening:
    """``folders`` are the packages that the module lies in, from its own outwards; ``code`` is what follows."""

    module: str
    folders: tuple[str, ...]
    text: str
    code: str


@pytest.fixture(scope="module")
def sources() -> dict[str, Path]:
    """The files of all modules, by their names. Three of the layers are reached through links."""
    package = Path(servefit.__path__[0])
    sources = {}
    for folder, _, files in os.walk(package, followlinks=True):
        for name in files:
            path = Path(folder, name)
            parts = ("servefit", *path.relative_to(package).with_suffix("").parts)
            if path.suffix == ".py":
                sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return sources


@pytest.fixture(scope="module")
def openings(sources: dict[str, Path]) -> list[Opening]:
    openings = []
    for module, path in sorted(sources.items()):
        source = path.read_text(encoding="utf-8")
        text = ast.get_docstring(ast.parse(source), clean=False)
        if text is not None:
            inner = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            folders = tuple(".".join(inner[:length]) for length in range(len(inner), 0, -1))
            openings.append(Opening(module, folders, text, source.replace(text, "", 1)))
    return openings


def _is_known(name: str, opening: Opening, sources: dict[str, Path]) -> bool:
    """Whether ``name`` is a module seen from there, or is (or begins with) something in the module itself."""
    if name in NO_MODULES or any(f"{folder}.{name}" in sources for folder in opening.folders) or name in sources:
        return True
    return re.search(rf"\b{name.partition('.')[0]}\b", opening.code) is not None


def test_there_are_openings_that_name_modules(openings: list[Opening]) -> None:
    named = [name for opening in openings for name in _QUOTED.findall(opening.text)]
    assert len(named) > 300


def test_a_module_names_others_as_they_are_called(openings: list[Opening], sources: dict[str, Path]) -> None:
    unknown = {
        opening.module: names
        for opening in openings
        if (names := [name for name in _QUOTED.findall(opening.text) if not _is_known(name, opening, sources)])
    }
    assert unknown == {}
