"""The pages of the documentation, and the fenced blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FENCE = "```"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: what its fence names, what is in it, and the line of the fence."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page, as a path from the repository's root."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def blocks(page: str) -> list[Block]:
    return list(_blocks(page, (ROOT / page).read_text(encoding="utf-8").splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    begin: int | None = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith(FENCE):
            continue
        if begin is None:
            begin = number
            continue
        indent = len(lines[begin]) - len(lines[begin].lstrip())
        yield Block(
            page=page,
            line=begin + 1,
            language=lines[begin].strip().removeprefix(FENCE),
            text="".join(f"{line[indent:]}\n" for line in lines[begin + 1 : number]),
        )
        begin = None
    assert begin is None, f"{page}:{(begin or 0) + 1} opens a block that is never closed"


def unfenced(page: str) -> list[int]:
    """The lines that begin a block by nothing but their indentation, which would escape whatever looks for fences."""
    found, before = [], ""
    fenced = belongs = False
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith(FENCE):
            fenced = not fenced
        elif not fenced:
            if re.match(r"\s*([-*]|\d+\.|!!!) ", line):
                belongs = True  # what follows is a part of a list, or of a note
            elif line and not line.startswith(" "):
                belongs = False
            if line.startswith("    ") and not before.strip() and not belongs:
                found.append(number)
        before = line
    return found


def commands(block: Block) -> list[str]:
    """What a block of shell commands asks for, a line each, without comments and with continued lines joined."""
    joined = re.sub(r"(^|\s)#.*", "", block.text.replace("\\\n", " "), flags=re.MULTILINE)
    return [" ".join(line.split()) for line in joined.splitlines() if line.strip()]
