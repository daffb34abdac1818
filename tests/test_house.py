"""Rules of names, parameters and files that hold for the whole repository, counted in its source."""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("backends", "profiler", "search", "src/servefit")
OPENINGS = ("What", "Which", "How", "Whoever")
EMPTY_NAMES = {"each", "found", "given", "known", "told"}
ALLOWED_EMPTY_NAMES = {"backends": 7, "profiler": 0, "search": 2, "src/servefit": 3}
ROOT_FILES = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "mkdocs.yml", "pyproject.toml"}
SUPERLATIVES = re.compile(r"_?(MOST|LEAST|LARGEST|SMALLEST|HIGHEST|LOWEST|LONGEST|SHORTEST|FEWEST)(_\w+)?")

MAX_PARAMETERS = 12
"""As many as somebody who calls a function can look over. Chosen."""

Modules = dict[Path, ast.Module]


@pytest.fixture(scope="module")
def modules() -> Modules:
    # Symlinks make the first three folders part of the package; a set has each file once.
    paths = {path.resolve() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in sorted(paths)}


def test_a_public_class_has_a_name_of_its_own(modules: Modules) -> None:
    places = defaultdict(list)
    for path, module in modules.items():
        for node in module.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not _extends_its_namesake(node):
                places[node.name].append(str(path))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_constants_that_bound_something_begin_with_max_or_min(modules: Modules) -> None:
    names = {(str(path), name) for path, module in modules.items() for name in _assigned(module)}
    assert [(path, name) for path, name in names if SUPERLATIVES.fullmatch(name)] == []


def test_variables_are_named_by_nouns(modules: Modules) -> None:
    """Each folder has at most so many that are not: a change may only lower the number."""
    places: dict[str, list[str]] = defaultdict(list)
    for path, module in modules.items():
        folder = next(folder for folder in FOLDERS if path.is_relative_to(folder))
        places[folder] += [f"{path}:{line}: {name}" for line, name in _variables(module) if name in EMPTY_NAMES]
    assert {folder: lines for folder, lines in places.items() if len(lines) > ALLOWED_EMPTY_NAMES[folder]} == {}


def test_no_docstring_begins_with_a_question_word(modules: Modules) -> None:
    docstrings = [(path, *docstring) for path, module in modules.items() for docstring in _docstrings(module)]
    assert [(str(path), line) for path, line, first in docstrings if first.rstrip(",:") in OPENINGS] == []


def test_no_function_has_too_many_parameters(modules: Modules) -> None:
    """More are the fields of a set of options, or keywords of a TypedDict."""
    assert [(str(path), name) for path, module in modules.items() for name in _crowded(module)] == []


def test_a_function_with_too_many_parameters_is_named() -> None:
    names = ", ".join(f"p{nth}" for nth in range(MAX_PARAMETERS))
    assert list(_crowded(ast.parse(f"def enough({names}, **others): ..."))) == []
    method = f"class Thing:\n    def too_many(self, {names}, *, more): ..."
    assert list(_crowded(ast.parse(method))) == ["too_many"]


@pytest.mark.integration
def test_no_other_file_is_committed_at_the_root() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert {name for name in tracked if "/" not in name and not name.startswith(".")} == ROOT_FILES


def test_all_of_the_package_is_looked_at(modules: Modules) -> None:
    assert len(modules) > 500


def _extends_its_namesake(node: ast.ClassDef) -> bool:
    """Return whether it is the same thing with more methods, as ``servefit.Recommendation`` is."""
    return any(isinstance(base, ast.Attribute) and base.attr == node.name for base in node.bases)


def _assigned(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _crowded(module: ast.Module) -> Iterator[str]:
    """Yield the functions with too many parameters, as they are written: an instance or a class is none."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if len([own for own in parameters if own.arg not in ("self", "cls")]) > MAX_PARAMETERS:
                yield node.name


def _variables(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of all parameters and variables below ``node``; fields of classes are none."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.lineno, child.id
        elif isinstance(child, ast.arg):
            yield child.lineno, child.arg
        elif isinstance(child, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and child.name:
            yield child.lineno, child.name
        if not (isinstance(node, ast.ClassDef) and isinstance(child, ast.Assign | ast.AnnAssign)):
            yield from _variables(child)


def _docstrings(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the first word of all docstrings, also those of constants and fields."""
    for node in ast.walk(module):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value.split()[0]
