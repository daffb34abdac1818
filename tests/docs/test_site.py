"""The documentation's site is built by mkdocs without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pytest
from tests.docs.pages import ROOT
from typer.main import get_command

import servefit
from servefit.cli.commands import app

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

CHROMIUM = "/usr/bin/chromium"
"""scripts/test installs it."""


class _Fetched(HTMLParser):
    """Collects what a browser fetches by itself when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.addresses.append(given.get("src") or "")
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "alternate"):
            self.addresses.append(given.get("href") or "")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def test_every_page_is_there(site: Path) -> None:
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    elsewhere = {Path(f"{name}.html") for name in ("benchmarks", "changelog", "contributing", "security")}
    built = {path.relative_to(site) for path in site.rglob("*.html")}
    assert built - {Path("404.html")} == sources | elsewhere


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        found = _Fetched()
        found.feed(html)
        assert found.addresses
        assert [address for address in found.addresses if re.match(r"(\w+:)?//", address)] == [], page
        assert 'class="mermaid"' not in html, "the theme would fetch what draws it"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(\w+:)?//", style.read_text(encoding="utf-8")), style


def test_links_out_of_the_documentation_lead_to_pages_or_nowhere(site: Path) -> None:
    html = (site / "searching.html").read_text(encoding="utf-8")
    assert 'href="benchmarks.html"' in html
    assert "../benchmarks/README" not in html
    html = (site / "adr/0006-own-tree-kernel.html").read_text(encoding="utf-8")
    assert 'href="../forest.html"' in html


def test_every_command_is_described_with_its_options(site: Path) -> None:
    said = text_of(site / "commands.html")
    commands = dict(get_command(app).commands)  # type: ignore[attr-defined]
    for name, command in list(commands.items()):
        commands |= {f"{name} {word}": below for word, below in getattr(command, "commands", {}).items()}
    for words, command in commands.items():
        assert f"servefit {words}" in said
        for parameter in command.params:
            if not getattr(parameter, "hidden", False):
                assert all(option in said for option in parameter.opts if option.startswith("--"))


def test_every_public_name_is_described_from_its_docstring(site: Path) -> None:
    html, said = (site / "api.html").read_text(encoding="utf-8"), text_of(site / "api.html")
    for name in set(servefit.__all__) - {"__version__"}:
        assert re.search(rf'id="servefit[\w.]*\.{name}"', html), name
    for name in ("OutputMismatch", "JobInUse", "RecommendationJob", "Predictor"):
        assert f".{name}" in html
    assert "Predict C-contiguous rows of shape" in " ".join(said.split()), "what predict takes"
    assert "Find what to deploy" in said, "a docstring behind a symlink"
    assert not re.search(r":(class|func|meth|mod):<code>", html), "a name as Sphinx writes it"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_diagrams_are_drawn_without_a_network(site: Path, scheme: Literal["light", "dark"]) -> None:
    from playwright.sync_api import sync_playwright

    asked_for: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(color_scheme=scheme)
        page.on("request", lambda request: asked_for.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto((site / "architecture.html").as_uri())
        picture = page.locator(".diagram svg")
        picture.wait_for()
        said = picture.text_content() or ""
        drawn = picture.bounding_box()
        browser.close()
    for floor in ("optimizer", "queueing", "evidence", "backends"):
        assert floor in said
    assert drawn is not None
    assert min(drawn["width"], drawn["height"]) > 200
    assert complaints == []
    assert {url.partition(":")[0] for url in asked_for} <= {"file", "data", "about"}


def test_only_pages_with_diagrams_load_what_draws_them(site: Path) -> None:
    with_diagrams = [
        page.name for page in site.rglob("*.html") if 'class="diagram"' in page.read_text(encoding="utf-8")
    ]
    assert with_diagrams == ["architecture.html"]
    assert (site / "javascripts/mermaid.min.js").read_bytes().startswith(b"/*! Mermaid\n\nThe MIT License")
    assert not list(ROOT.glob("docs/**/mermaid*"))


def test_pages_that_are_opened_as_files_can_be_searched_and_read_in_the_dark(site: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    asked_for: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(color_scheme="dark")
        page.on("request", lambda request: asked_for.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto((site / "index.html").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("verdicts and intervals")
        page.locator(".md-search-result__link", has_text="Verdicts and intervals").click()
        # The colours are chosen by a script of the page that was just opened, so both are waited for.
        page.wait_for_url(f"{(site / 'reading.html').as_uri()}*")
        expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
        browser.close()
    assert complaints == []
    assert {url.partition(":")[0] for url in asked_for} <= {"file", "data", "about"}
