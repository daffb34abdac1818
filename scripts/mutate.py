"""Mutation testing: a mutant is a module with one change, and the nearest tests of the module have to fail for it.

Run it as scripts/mutate, which installs what it needs. Cosmic Ray makes the changes; two kinds are added that it does
not have. Each mutant is tested in a process that is forked after the libraries were imported, and that imports the
changed module from memory. So no file is changed, and what is killed leaves nothing behind.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import ndiff
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from multiprocessing.connection import wait
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names
from parso.python.tree import Name

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "scripts/mutations.toml"

AIM = 0.9
"""The share of the mutants of a module that its tests have to kill. Chosen, not measured."""
_Z = 1.645
"""The quantile of the normal distribution that one in twenty is below."""

IMPORTED = ("hypothesis", "msgspec", "numpy", "psycopg", "sqlalchemy")
"""Libraries that most tests import, and that start no threads which a fork would lose."""

MIN_LIMIT_S, TIMES_USUAL = 10, 5
"""A mutant whose tests take so much, and so many times what they usually take, hangs. Chosen, not measured."""

_OF_COSMIC_RAY = re.compile(
    r"core/(ReplaceBinaryOperator_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(Add|Sub|Mul|Div)"
    r"|ReplaceBinaryOperator_(BitOr_BitAnd|BitAnd_BitOr)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is)"
    r"|ReplaceComparisonOperator_(Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt)"
    r"|ReplaceUnaryOperator_Delete_(Not|USub)"
    r"|Replace(TrueWithFalse|FalseWithTrue|AndWithOr|OrWithAnd|BreakWithContinue|ContinueWithBreak)"
    r"|AddNot|ExceptionReplacer|NumberReplacer|ZeroIterationForLoop)"
)
"""A comparison is turned around, or moves its boundary. Left out is what every test finds, such as shifts."""

_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any", "ceil": "floor", "floor": "ceil"}


class DroppedArgument(Operator):
    """Leaves out an argument that is passed by name, so that its default counts: a value that gets lost on its way."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "argument" and node.children[1] == "=":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002
        return Name("**{}", node.start_pos, prefix=node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class SwappedFunction(Operator):
    """Calls max in place of min, and the like."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "name" and node.value in _SWAPPED and node.get_next_leaf().value == "(":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002
        node.value = _SWAPPED[node.value]
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """The ``source`` of a module in which the line ``before`` has become ``after``."""

    module: str
    line: int
    before: str
    after: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationScore:
    """What the tests of ``module`` made of ``tested`` mutants, drawn from so many ``changes``."""

    module: str
    changes: int
    tested: int
    survivors: int

    @property
    def killed(self) -> float:
        """The share that was killed; 1.0 where none was tested."""
        return 1 - self.survivors / self.tested if self.tested else 1.0

    @property
    def is_below(self) -> bool:
        """True if the module is below the aim, by more than one draw in twenty is of a module that reaches it. Of all
        mutants there is nothing to be drawn."""
        left = (self.changes - self.tested) / max(self.changes - 1, 1)
        return self.killed < AIM - _Z * (AIM * (1 - AIM) * left / max(self.tested, 1)) ** 0.5


def changes_of(source: str) -> list[tuple[Operator, int]]:
    """Return every change that can be made to ``source``: an operator, and which of its places is changed."""
    operators = [get_operator(name)() for name in operator_names() if _OF_COSMIC_RAY.fullmatch(name)]
    nodes = list(ast_nodes(get_ast(source)))
    return [
        (operator, nth)
        for operator in (*operators, DroppedArgument(), SwappedFunction())
        for nth in range(sum(1 for node in nodes for _ in operator.mutation_positions(node)))
    ]


def mutant_of(module: str, source: str, change: tuple[Operator, int]) -> Mutant | None:
    """Return ``source`` with a ``change``; None where Python does not take it, or it changes annotations alone."""
    mutated = mutate_code(source, *change)
    if mutated is None or meaning_of(mutated) in (None, meaning_of(source)):
        return None
    line, before, after = 1, "", ""
    for text in ndiff(source.splitlines(), mutated.splitlines()):
        if text.startswith("- "):
            before = text[2:].strip()
        elif text.startswith("+ "):
            after = text[2:].strip()
        elif not (before or after):
            line += text.startswith("  ")
    return Mutant(module=module, line=line, before=before, after=after, source=mutated)


def meaning_of(source: str) -> str | None:
    """Return what Python makes of ``source`` without annotations, decorators, and how arguments have to be passed; None
    where it takes none of it."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        for name in {"annotation", "returns", "decorator_list"} & set(node._fields):
            setattr(node, name, None)
        if isinstance(node, ast.arguments):
            node.args, node.posonlyargs, node.kwonlyargs = [*node.posonlyargs, *node.args, *node.kwonlyargs], [], []
            node.defaults, node.kw_defaults = [*node.defaults, *filter(None, node.kw_defaults)], []
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.test, node.body = ast.Constant(value=False), []
    return ast.dump(tree)


class FromMemory(SourceFileLoader):
    """Finds and loads the module of ``mutant``, as Python finds and loads others from files."""

    def __init__(self, mutant: Mutant) -> None:
        name = re.sub(r"^src/servefit/", "", mutant.module).removesuffix(".py").replace("/", ".")
        super().__init__(f"servefit.{name}", str(ROOT / mutant.module))
        self._source = mutant.source

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        return spec_from_loader(name, self, origin=self.path) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        return compile(self._source, self.path, "exec")


def _run_tests(tests: Sequence[str], mutant: Mutant, limit_s: int, output: int) -> None:
    """Run ``tests`` in this process, which ends with the status of pytest, or by SIGALRM after ``limit_s``."""
    signal.alarm(limit_s)
    os.dup2(output, 1)
    os.dup2(output, 2)
    changed = FromMemory(mutant)
    sys.meta_path.insert(0, changed)
    # Before pytest, which has a way of its own to import what is called like a test.
    module = importlib.import_module(changed.name)
    # hypothesis is a plug-in too, and imported already
    options = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider", "--timeout=0"]
    status = pytest.main(["-x", "-q", *options, *tests])
    if sys.modules[changed.name] is not module:
        sys.exit(f"{changed.name} was imported again, so nothing is known of the change")
    sys.exit(status)


def _started(tests: Sequence[str], mutant: Mutant, limit_s: int, output: int) -> Any:
    process = multiprocessing.get_context("fork").Process(
        target=_run_tests, args=(tests, mutant, limit_s, output), daemon=True
    )
    process.start()
    return process


def usual_s(tests: Sequence[str], unchanged: Mutant) -> float:
    """Return how long ``tests`` take where nothing is changed. Exits where they fail."""
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = _started(tests, unchanged, 0, output.fileno())
        process.join()
        if process.exitcode != 0:
            output.seek(0)
            sys.exit(f"{output.read().decode()}\nscripts/mutate: these tests fail without any change")
    return time.monotonic() - began_s


def tested(
    mutants: Iterator[Mutant], tests: Sequence[str], limit_s: int, until_s: float
) -> Iterator[tuple[Mutant, bool]]:
    """Yield ``mutants`` with whether ``tests`` kill them, as many as can be begun until then, on every CPU."""
    running: dict[Any, tuple[Any, Mutant]] = {}
    with Path(os.devnull).open("wb") as nowhere:
        while True:
            while len(running) < len(os.sched_getaffinity(0)) and time.monotonic() < until_s:
                if (mutant := next(mutants, None)) is None:
                    break
                process = _started(tests, mutant, limit_s, nowhere.fileno())
                running[process.sentinel] = process, mutant
            if not running:
                return
            for ended in wait(list(running)):
                process, mutant = running.pop(ended)
                process.join()
                yield mutant, process.exitcode != 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def score_of(module: str, table: Mapping[str, Any], seed: int, until_s: float) -> MutationScore:
    """Try the changes of ``module`` in an order that comes from ``seed``, and print those that survive."""
    source, tests = (ROOT / module).read_text(), table["modules"][module]
    equivalent = {
        (line["before"], after) for line in table["equivalent"] if line["module"] == module for after in line["after"]
    }
    changes = changes_of(source)
    random.Random(f"{seed} {module}").shuffle(changes)
    mutants = (
        mutant
        for change in changes
        if (mutant := mutant_of(module, source, change)) and (mutant.before, mutant.after) not in equivalent
    )
    unchanged = Mutant(module=module, line=0, before="", after="", source=source)
    limit_s = MIN_LIMIT_S + round(TIMES_USUAL * usual_s(tests, unchanged))
    count = survivors = 0
    for mutant, killed in tested(mutants, tests, limit_s, until_s):
        count += 1
        if not killed:
            survivors += 1
            _say(f"{module}:{mutant.line} survives\n  - {mutant.before}\n  + {mutant.after}")
    score = MutationScore(module=module, changes=len(changes), tested=count, survivors=survivors)
    _say(f"{module}: {score.killed:.0%} of {count} mutants killed, of {len(changes)} changes\n")
    return score


def main() -> None:
    """Score the modules that are asked for. Exits with status 1 where one of them does not reach the aim."""
    table = tomllib.loads(TABLE.read_text())
    parser = argparse.ArgumentParser(prog="scripts/mutate")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a path of scripts/mutations.toml; all of them")
    parser.add_argument("--minutes", type=float, help="draw as many mutants as that allows, each module its share")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="draw the same ones again")
    asked = parser.parse_args()
    if unknown := [module for module in asked.modules if module not in table["modules"]]:
        parser.error(f"{unknown[0]} is not in scripts/mutations.toml")
    os.chdir(ROOT)
    for library in IMPORTED:
        importlib.import_module(library)
    modules, scores = asked.modules or list(table["modules"]), []
    ends_s = time.monotonic() + 60 * (float("inf") if asked.minutes is None else asked.minutes)
    _say(f"--seed {asked.seed}")
    for nth, module in enumerate(modules):
        now_s = time.monotonic()
        scores.append(score_of(module, table, asked.seed, now_s + (ends_s - now_s) / (len(modules) - nth)))
    below = [score.module for score in scores if score.is_below]
    _say("\n".join(f"{score.killed:4.0%} of {score.tested:3}  {score.module}" for score in scores))
    if below:
        sys.exit(f"scripts/mutate: below the aim of {AIM:.0%}: {', '.join(below)}")


if __name__ == "__main__":
    main()
