"""No function has more than 12 parameters: more are the fields of a set of options, or keywords of a TypedDict."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import servefit

MAX_PARAMETERS = 12
"""As many as somebody who calls a function can look over. Chosen."""


def modules() -> list[Path]:
    """The modules of the package, three folders of which are reached through links."""
    (package,) = map(Path, servefit.__path__)
    folders = os.walk(package, followlinks=True)
    return sorted(Path(folder, name) for folder, _, names in folders for name in names if name.endswith(".py"))


def crowded(source: str) -> Iterator[str]:
    """The functions of a module with too many parameters, as they are written: an instance or a class is none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if len([argument for argument in given if argument.arg not in ("self", "cls")]) > MAX_PARAMETERS:
                yield node.name


def test_all_of_the_package_is_looked_at() -> None:
    assert len(modules()) > 500


def test_what_has_too_many_is_named() -> None:
    names = ", ".join(f"p{nth}" for nth in range(MAX_PARAMETERS))
    assert list(crowded(f"def enough({names}, **others): ...")) == []
    assert list(crowded(f"class Thing:\n    def too_many(self, {names}, *, more): ...")) == ["too_many"]


def test_no_function_has_too_many_parameters() -> None:
    named = [(path.name, function) for path in modules() for function in crowded(path.read_text(encoding="utf-8"))]
    assert named == []
