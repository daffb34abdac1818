"""The picture of the layers in docs/architecture.md shows every package, and every import goes along its arrows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, product

import grimp
import pytest
from tests.docs.pages import ROOT

from servefit.annexed import FOLDERS

INSIDE = ("annexes", "backends", "profiler", "search")
"""Packages whose own packages have boxes each."""


@dataclass
class Picture:
    """A flowchart of Mermaid: the modules of each box, by its name, and which boxes an arrow leads to from each."""

    modules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    frames: dict[str, set[str]] = field(default_factory=dict)
    dashed: set[str] = field(default_factory=set)
    arrows: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of(cls, text: str) -> Picture:
        picture, frame = cls(), ""
        for line in map(str.strip, text.splitlines()):
            if match := re.match(r"subgraph (\w+)", line):
                frame = match[1]
                picture.frames[frame] = set()
            elif line == "end":
                frame = ""
            elif match := re.match(r"class (\S+) annex", line):
                picture.dashed = set(match[1].split(","))
            else:
                picture._read(line, frame)
        return picture

    def _read(self, line: str, frame: str) -> None:
        for box, label in re.findall(r'(\w+)\["([^"]+)"\]', line):
            inside = f"{frame}." if frame in INSIDE else ""
            self.modules[box] = tuple(f"servefit.{inside}{name}" for name in label.split(", "))
            if frame:
                self.frames[frame].add(box)
        ends = [re.findall(r"\w+", end) for end in re.sub(r"\[[^]]*\]", "", line).split("-->")]
        self.arrows |= {pair for before, after in pairwise(ends) for pair in product(before, after)}

    def may_import(self, box: str) -> set[str]:
        """The boxes that arrows lead to, directly or through others."""
        reached: set[str] = set()
        waiting = [box]
        while waiting:
            further = self._next(waiting.pop()) - reached
            reached |= further
            waiting += further
        return reached

    def _next(self, box: str) -> set[str]:
        """The boxes that an arrow from the box or from its frame leads to. One to a frame leads to no dashed box."""
        begins = {box, *(frame for frame, boxes in self.frames.items() if box in boxes)}
        ends = [end for begin, end in self.arrows if begin in begins]
        return {
            inner for end in ends for inner in self.frames.get(end, {end}) if end == inner or inner not in self.dashed
        }


PICTURE = Picture.of(re.findall(r"```mermaid\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL)[0])
BOX_OF = {module: box for box, modules in PICTURE.modules.items() for module in modules}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("servefit", cache_dir=None)


def box_of(module: str) -> str:
    packages = accumulate(module.split("."), "{}.{}".format)
    return next(BOX_OF[package] for package in packages if package in BOX_OF)


def test_every_package_has_a_box(graph: grimp.ImportGraph) -> None:
    packages = {child for name in INSIDE for child in graph.find_children(f"servefit.{name}")}
    modules = graph.find_children("servefit") - {f"servefit.{name}" for name in INSIDE} - {"servefit.__main__"}
    assert set(BOX_OF) == packages | modules


def test_every_import_goes_along_the_arrows(graph: grimp.ImportGraph) -> None:
    reached = {box: PICTURE.may_import(box) | {box} for box in PICTURE.modules}
    shown = [module for module in graph.modules if module.count(".") and module != "servefit.__main__"]
    wrong = [
        f"{module} -> {imported}"
        for module in shown
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.count(".") and box_of(imported) not in reached[box_of(module)]
    ]
    assert wrong == []


def test_the_boxes_with_dashed_lines_are_the_annexes() -> None:
    assert {module for box in PICTURE.dashed for module in PICTURE.modules[box]} == {
        folder for folders in FOLDERS.values() for folder in folders
    }


def test_an_arrow_is_read_with_all_that_it_leads_to() -> None:
    picture = Picture.of(
        """
        subgraph top
            a["a"] & b["b"] --> c["c"]
            d["d"] --> a
        end
        subgraph bottom
            e["e, f"]
            g["g"]
        end
        top --> bottom
        d --> g
        class d,g annex
        """
    )
    assert picture.modules["e"] == ("servefit.e", "servefit.f")
    assert picture.may_import("a") == picture.may_import("b") == {"c", "e"}
    assert picture.may_import("d") == {"a", "c", "e", "g"}
