"""Reports of all kinds of jobs, made once each, and a browser to open them in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.jobs import KINDS

from servefit.report.contents import report_of
from servefit.report.page import to_html
from servefit.search.jobs.lifecycle import load_job

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from servefit.report.contents import Report
    from servefit.search.jobs.job import RecommendationJob

CHROMIUM = Path("/usr/bin/chromium")
_SWITCHES = (
    "--disable-background-networking", "--disable-component-update", "--disable-gpu", "--disable-quic",
    "--disable-sync", "--no-first-run",
)  # fmt: skip

_REPOSITORY = Path(__file__).parents[2]


class Reports:
    """Jobs in a state folder of their own, each run, or told, when the first test asks for it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._made: dict[str, Report] = {}

    def job(self, kind: str) -> RecommendationJob:
        with self.at_home():
            if not (self.state / "jobs" / kind).exists():
                KINDS[kind](kind)
            return load_job(kind)

    def report(self, kind: str) -> Report:
        """What the report of the job of that kind says."""
        if kind not in self._made:
            job = self.job(kind)
            with self.at_home():
                self._made[kind] = report_of(job)
        return self._made[kind]

    def html(self, kind: str) -> Path:
        """The same as a page."""
        path = self.state / f"{kind}.html"
        if not path.exists():
            path.write_text(to_html(self.report(kind)))
        return path

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """The state folder is that of the jobs while the block lasts."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SERVEFIT_HOME", str(self.state))
            yield


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    return Reports(tmp_path_factory.mktemp("reports"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A report in a browser that has no network, and what the browser said and did meanwhile. ``address`` is the
    report's own."""

    page: Page
    address: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


OpenReport = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for longer than a module: while Playwright runs, nothing else in this process may run an event loop."""
    from playwright.sync_api import sync_playwright

    if not CHROMIUM.exists():
        pytest.fail(
            "there is no Chromium to open reports in: scripts/test installs one (Debian: apt-get install chromium)"
        )
    switches = [*_SWITCHES, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=switches)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_report(browser: Browser, reports: Reports) -> Iterator[OpenReport]:
    """Opens the report of a kind of job in a window 1440 pixels wide, unless told otherwise."""
    contexts = []

    def open_one(kind: str, *, width: int = 1440, **options: Any) -> Opened:
        path = reports.html(kind)
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        opened = Opened(page=page, address=path.as_uri())
        page.on("console", lambda message: opened.messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: opened.messages.append(f"error: {error}"))
        page.on("request", lambda request: opened.requests.append(request.url))
        page.goto(opened.address, wait_until="load")
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-drawn]", state="attached", timeout=10_000)
        return opened

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where they are kept: the folder that SERVEFIT_SCREENSHOTS names, or one in the repository."""
    folder = Path(os.environ.get("SERVEFIT_SCREENSHOTS") or _REPOSITORY / "test-results" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
