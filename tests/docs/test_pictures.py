"""The pictures of the documentation are there, are small, and fetch nothing. scripts/pictures makes them."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.docs.pages import ROOT, pages

MAX_BYTES = 400_000
"""Of a picture: a page with it opens at once."""

_PICTURE = re.compile(r"!\[(?P<said>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def pictures_of(page: str) -> list[tuple[str, Path]]:
    """The description and the file of every picture of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(match["said"], (ROOT / page).parent / match["target"]) for match in _PICTURE.finditer(text)]


@pytest.mark.parametrize("page", [page for page in pages() if pictures_of(page)])
def test_a_picture_of_a_page_is_there_is_small_and_is_described(page: str) -> None:
    for said, path in pictures_of(page):
        assert path.is_file(), path
        assert path.stat().st_size < MAX_BYTES
        assert len(said) > 20


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/report.md", "docs/index.md"])
def test_a_page_opens_with_a_picture(page: str) -> None:
    [_, path], *_ = pictures_of(page)
    opening = (ROOT / page).read_text(encoding="utf-8").splitlines()[:20]
    assert any(path.name in line for line in opening)


def test_every_picture_is_shown() -> None:
    shown = {path.resolve() for page in pages() for _, path in pictures_of(page)}
    assert shown == set((ROOT / "docs/pictures").iterdir())


def test_the_picture_of_the_terminal_is_text_and_fetches_nothing() -> None:
    text = (ROOT / "docs/pictures/terminal.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert not re.search(r"url\((?!#)|href=|@import|<script", text)
    assert "$ servefit " in text.replace("&#160;", " ")


def test_the_picture_of_the_report_is_a_window_of_a_laptop() -> None:
    content = (ROOT / "docs/pictures/report.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", content[16:24]) == (1440, 900)
