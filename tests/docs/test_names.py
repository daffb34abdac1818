"""Modules and functions that pages name, as `serving.batching.Batching.submit`, exist."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

import pytest
from tests.docs.pages import ROOT, pages

import servefit

LAYERS = sorted(found.name for found in iter_modules(servefit.__path__))
_NAMED = re.compile(rf"`((?:{'|'.join(LAYERS)})(?:\.[A-Za-z_]\w*)+)`")
_FILES = (".md", ".html", ".json", ".csv", ".py", ".yaml")

NAMES = {
    page: list(dict.fromkeys(name for name in _NAMED.findall(text) if not name.endswith(_FILES)))
    for page in pages()
    if not page.startswith("docs/adr/") and (text := (ROOT / page).read_text(encoding="utf-8"))
}
"""What each page names; what was decided once may name what there was then."""


def _missing(name: str) -> str | None:
    """The first part of ``name`` that there is not, None where all of it is there."""
    module, rest = "servefit", name.split(".")
    while rest and find_spec(f"{module}.{rest[0]}") is not None:
        module = f"{module}.{rest.pop(0)}"
        if not hasattr(import_module(module), "__path__"):
            break
    found: object = import_module(module)
    for part in rest:
        if not hasattr(found, part):
            return part
        found = getattr(found, part)
    return None


@pytest.mark.parametrize("page", [page for page, names in NAMES.items() if names])
def test_what_a_page_names_exists(page: str) -> None:
    assert [name for name in NAMES[page] if _missing(name) is not None] == []


def test_two_walks_go_through_many_modules() -> None:
    assert len(NAMES["docs/following.md"]) > 50
    assert len(NAMES["docs/architecture.md"]) > 30


def test_what_does_not_exist_is_found() -> None:
    assert _missing("serving.batching.Batching.submit") is None
    assert _missing("serving.batching.Batching.bury") == "bury"
    assert _missing("profiler.deciding") == "deciding"
