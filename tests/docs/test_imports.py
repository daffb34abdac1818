"""What a page says that a plug-in may import exists, and the worked example of the page imports nothing else."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = {
    "writing-a-backend.md": "numpy-backend",
    "adding-arrivals.md": "cosine-arrivals",
    "adding-an-objective.md": "p95-per-watt",
    "adding-a-figure.md": "tail-ratio",
}
"""The folder of the example that each page explains."""

_ROW = re.compile(r"^\| `(servefit[\w.]*)` \| (.*) \|$", re.MULTILINE)


def allowed(page: str) -> dict[str, set[str]]:
    """Return the names that the table of a page lists, by module."""
    _, _, rest = (ROOT / "docs" / page).read_text(encoding="utf-8").partition("## What may be imported\n")
    section = rest.partition("\n## ")[0]
    return {module: set(re.findall(r"`(\w+)`", names)) for module, names in _ROW.findall(section)}


def imported(source: str) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of everything that ``source`` imports from servefit."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "servefit":
            yield from ((node.module or "", name.name) for name in node.names)
        elif isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names if name.name.partition(".")[0] == "servefit")


def modules(example: str) -> list[Path]:
    return sorted((ROOT / "examples" / example).glob("servefit_*.py"))


@pytest.mark.parametrize("page", EXAMPLES)
def test_what_may_be_imported_exists(page: str) -> None:
    listed = allowed(page)
    assert listed
    for module, names in listed.items():
        assert names, module
        assert {name for name in names if not hasattr(import_module(module), name)} == set(), module


@pytest.mark.parametrize(("page", "example"), EXAMPLES.items())
def test_an_example_imports_only_what_its_page_lists(page: str, example: str) -> None:
    listed, paths = allowed(page), modules(example)
    found = [pair for path in paths for pair in imported(path.read_text(encoding="utf-8"))]
    assert found
    assert [(module, name) for module, name in found if name not in listed.get(module, set())] == []


def test_every_example_of_a_plug_in_has_a_page() -> None:
    offering = {path.parent.name for path in (ROOT / "examples").glob("*/servefit_*.py")}
    assert offering == set(EXAMPLES.values())


def test_the_page_on_stable_names_refers_to_every_list() -> None:
    stable = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [page for page in EXAMPLES if f"]({page}#what-may-be-imported)" not in stable] == []


def test_an_import_of_something_else_is_found() -> None:
    assert list(imported("import servefit.search\nfrom servefit.errors import SpecError\nimport numpy")) == [
        ("servefit.search", ""),
        ("servefit.errors", "SpecError"),
    ]
