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

    def __str__(self) -> str:
        return self.module


def _sources() -> dict[str, Path]:
    """The files of all modules, by their names. Three of the layers are reached through links."""
    package = Path(servefit.__path__[0])
    found = {}
    for folder, _, files in os.walk(package, followlinks=True):
        for name in files:
            path = Path(folder, name)
            parts = ("servefit", *path.relative_to(package).with_suffix("").parts)
            if path.suffix == ".py":
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _openings() -> list[Opening]:
    found = []
    for module, path in sorted(SOURCES.items()):
        source = path.read_text(encoding="utf-8")
        text = ast.get_docstring(ast.parse(source), clean=False)
        if text is not None:
            inner = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            folders = tuple(".".join(inner[:length]) for length in range(len(inner), 0, -1))
            found.append(Opening(module, folders, text, source.replace(text, "", 1)))
    return found


SOURCES = _sources()
OPENINGS = _openings()


def _is_known(name: str, opening: Opening) -> bool:
    """Whether ``name`` is a module seen from there, or is (or begins with) something in the module itself."""
    if name in NO_MODULES or any(f"{folder}.{name}" in SOURCES for folder in opening.folders) or name in SOURCES:
        return True
    return re.search(rf"\b{name.partition('.')[0]}\b", opening.code) is not None


def test_there_are_openings_that_name_modules() -> None:
    named = [name for opening in OPENINGS for name in _QUOTED.findall(opening.text)]
    assert len(named) > 300


@pytest.mark.parametrize("opening", OPENINGS, ids=str)
def test_a_module_names_others_as_they_are_called(opening: Opening) -> None:
    assert [name for name in _QUOTED.findall(opening.text) if not _is_known(name, opening)] == []
