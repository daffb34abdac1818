"""Imports between the commands of the benchmarks, and loaders that are named in strings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MODULES = {
    ".".join(file.relative_to(REPOSITORY).with_suffix("").parts): file
    for file in sorted((REPOSITORY / "benchmarks").rglob("*.py"))
    if "programs" not in file.parts  # run in environments of their own, without what is here
}
CLAIMS = "benchmarks.claims."


def names_in(file: Path) -> Iterator[str]:
    """Yield every dotted name that ``file`` imports anywhere, or has in a string to be imported later."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.partition(":")[0]


def modules_used_by(module: str) -> set[str]:
    return {name for name in names_in(MODULES[module]) if name in MODULES} - {module}


def test_no_module_knows_a_claim() -> None:
    assert [(module, name) for module in MODULES for name in modules_used_by(module) if name.startswith(CLAIMS)] == []


def test_modules_do_not_import_in_a_circle() -> None:
    order = list(TopologicalSorter({module: modules_used_by(module) for module in MODULES}).static_order())
    assert set(order) == set(MODULES)


def test_every_claim_is_a_command_that_the_page_of_the_benchmarks_names() -> None:
    page = (REPOSITORY / "benchmarks" / "README.md").read_text()
    claims = [module for module in MODULES if module.startswith(CLAIMS)]
    assert claims
    assert [claim for claim in claims if f"`python -m {claim}" not in page] == []
    assert [claim for claim in claims if '__name__ == "__main__"' not in MODULES[claim].read_text()] == []
