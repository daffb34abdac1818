"""Makes the pictures of the documentation: what the demo prints in a terminal, and the report of its job.

Run it as scripts/pictures, which installs what it needs.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import os
import pty
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs/pictures"
CHROMIUM = "/usr/bin/chromium"
SERVEFIT = (sys.executable, "-m", "servefit")

COLUMNS = 80
"""Of the terminal: the narrowest that the output is made for."""

LINES = 50
WIDTH_PX, HEIGHT_PX = 1440, 900
"""A window of a laptop: the report's first screen."""

MAX_LINES = 34
"""Lines of the terminal that are shown. Chosen, not measured: the answer and its table, as much as fits on a page."""

SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""The format of rich's own pictures without the fonts that they fetch from another server."""


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    command = ["servefit", "show", arguments[0]] if arguments else ["servefit", "demo"]
    said, status = printed(command)
    if status not in (0, 3):
        sys.stderr.write(f"scripts/pictures: {shlex.join(command)} ended with status {status}:\n{said}")
        return 1
    job = arguments[0] if arguments else newest_job()
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "terminal.svg").write_text(terminal_picture(shlex.join(command), said), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        subprocess.run([*SERVEFIT, "report", job, "-o", str(page)], check=True)
        (PICTURES / "report.png").write_bytes(page_picture(page))
    for picture in sorted(PICTURES.iterdir()):
        sys.stderr.write(f"{picture.relative_to(ROOT)}: {picture.stat().st_size // 1000:,} kB, of job {job}\n")
    return 0


def newest_job() -> str:
    """Return the name of the job that was begun last."""
    done = subprocess.run([*SERVEFIT, "jobs", "--format", "csv"], check=True, capture_output=True, text=True)
    return max(csv.DictReader(done.stdout.splitlines()), key=lambda job: job["created"])["job"]


def printed(command: list[str]) -> tuple[str, int]:
    """Run ``command`` of servefit in a terminal of its own, and return what it prints there, and its exit status.
    Progress and warnings go to this process's stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(COLUMNS)}
    with subprocess.Popen([*SERVEFIT, *command[1:]], stdout=theirs, env=environment) as process:
        os.close(theirs)
        said = bytearray()
        while chunk := _read(ours):
            said += chunk
    os.close(ours)
    return said.decode().replace("\r\n", "\n"), process.returncode


def _read(terminal: int) -> bytes:
    """Return what was printed next; nothing once the last process has closed the terminal."""
    try:
        return os.read(terminal, 65536)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def terminal_picture(command: str, said: str) -> str:
    """Return the SVG of a terminal in which ``command`` was typed and printed what it ``said``."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, record=True, width=COLUMNS, force_terminal=True, color_system="truecolor")
        lines = said.strip("\n").split("\n")
        shown = "\n".join(lines[:MAX_LINES])
        console.print(Text(f"$ {command}\n", style="bold"), Text.from_ansi(shown), sep="\n", highlight=False)
        if len(lines) > MAX_LINES:
            console.print(Text(f"... and {len(lines) - MAX_LINES} lines more", style="dim"))
    return console.export_svg(title=command, code_format=SVG, unique_id="terminal")


def page_picture(page: Path) -> bytes:
    """Return the PNG of the first screen of a report."""
    switches = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=switches)
        window = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX}, offline=True)
        window.goto(page.as_uri())
        window.wait_for_selector("html[data-drawn]", state="attached")
        picture = window.screenshot()
        browser.close()
    return picture


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
