"""Only objectives know what the goal of a job is."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servefit.search.request.goals import OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
FOLDERS = ("backends", "benchmarks", "profiler", "search", "src/servefit")
OBJECTIVES_FOLDER = ROOT / "search" / "results" / "objectives"
NAMES = frozenset(OBJECTIVES.built_in)


def modules() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if not path.is_relative_to(OBJECTIVES_FOLDER):
                yield path


def chooses_by_goal(node: ast.AST) -> bool:
    """Whether a node compares something that is called a goal, or looks it up in a table."""
    if isinstance(node, ast.Compare):
        return any(map(is_goal, [node.left, *node.comparators]))
    if isinstance(node, ast.Match):
        return is_goal(node.subject)
    if isinstance(node, ast.Subscript):
        return is_goal(node.slice) and isinstance(node.value, ast.Dict)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return isinstance(node.func.value, ast.Dict) and any(map(is_goal, node.args))
    return False


def is_goal(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "goal") or (
        isinstance(node, ast.Attribute) and node.attr == "goal"
    )


@pytest.mark.integration
def test_no_module_but_an_objective_depends_on_which_goal_a_job_has() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules()
        if "goal" in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Compare, ast.Match, ast.Subscript, ast.Call)) and chooses_by_goal(node)
    ]
    # Times that earlier jobs took are remembered for jobs that are about the same.
    allowed = [place for place in found if place.startswith("search/jobs/warm_start.py:")]
    assert found == allowed
    assert len(allowed) == 1
