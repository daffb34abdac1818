"""Hooks of mkdocs, for what its configuration cannot do (mkdocs.yml names this file).

Pages from outside of docs/ are added, and links out of docs/ are rewritten to them, or become plain text where their
target is no page. The options of every command are read from the command line itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import relpath
from typing import TYPE_CHECKING, Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ADDED = {
    "benchmarks.md": ROOT / "benchmarks/README.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "security.md": ROOT / "SECURITY.md",
}
"""Pages of the site that are kept elsewhere in the repository."""

COMMANDS = "<!-- commands -->"
"""The mark in a page that is replaced by the descriptions of all commands."""

_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
_FENCE = re.compile(r"^(```|~~~)", re.MULTILINE)
_ROLE = re.compile(r":(?:class|func|meth|mod):<code>~?(?:[\w.]*\.)?(\w+)</code>")
# mkdocs collects warnings of loggers below its own, and --strict makes errors of them.
_log = logging.getLogger("mkdocs.hooks.docs")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decisions in the navigation, in their order."""
    decisions = [{_title(path): f"adr/{path.name}"} for path in sorted((DOCS / "adr").glob("*.md"))]
    for section in config.nav or ():
        for pages in section.values():
            for entry in pages if isinstance(pages, list) else ():
                if "Decisions" in entry:
                    entry["Decisions"] = decisions
    return config


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are kept elsewhere."""
    for uri, path in ADDED.items():
        files.append(File.generated(config, uri, content=path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point links at pages of the site, and describe the commands where they are to be described."""
    uri = page.file.src_uri
    kept_in = ADDED.get(uri, DOCS / uri)
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    # Every other part is a fenced block, in which nothing is a link.
    parts[::2] = [_LINK.sub(lambda match: _pointed(match, uri, kept_in), part) for part in parts[::2]]
    return "".join(parts).replace(COMMANDS, "\n".join(_commands()) if COMMANDS in markdown else COMMANDS)


def _pointed(match: re.Match[str], uri: str, kept_in: Path) -> str:
    target = (kept_in.parent / match["target"]).resolve()
    if not target.exists():
        # A page that is missing is mkdocs's to report; another file would go unnoticed.
        if target.is_relative_to(DOCS):
            return match[0]
        _log.warning("%s links to %s, which does not exist", uri, match["target"])
        return match["text"]
    pages = {path.resolve(): page for page, path in ADDED.items()}
    page = pages.get(target)
    if page is None and target.is_relative_to(DOCS) and target.is_file():
        page = target.relative_to(DOCS).as_posix()
    if page is None:
        return match["text"]
    return f"[{match['text']}]({relpath(page, Path(uri).parent.as_posix())}{match['anchor'] or ''})"


def _commands() -> Iterator[str]:
    """Yield the description of every command in Markdown: its purpose, its arguments and its options."""
    from typer.main import get_command

    from servefit.cli.commands import app
    from servefit.cli.help_panels import help_record

    for name, command in _leaves(get_command(app)):
        context = command.context_class(command, info_name=name)
        # An example is in --help; those of these pages are run by a test.
        paragraphs = [text for text in (command.help or "").split("\n\n") if not text.startswith("Example:")]
        arguments = (parameter for parameter in command.params if parameter.param_type_name == "argument")
        usage = [*(argument.metavar or argument.name.upper() for argument in arguments), "[OPTIONS]"]
        if not command.allow_interspersed_args:  # what is behind an argument is another command's
            usage.reverse()
        yield f"## servefit {name}\n\n{_one_line(paragraphs[0])}\n"
        yield f"```text\nservefit {name} {' '.join(usage)}\n```\n"
        yield from (f"{_one_line(text)}\n" for text in paragraphs[1:])
        yield "| argument or option | meaning |\n|---|---|"
        records = (help_record(parameter, context) for parameter in command.params)
        yield from (_row(*record) for record in records if record is not None)
        yield ""


def _leaves(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command that does something by itself, under all its words."""
    for name, command in group.commands.items():
        words = f"{before}{name}"
        if getattr(command, "invoke_without_command", True):
            yield words, command
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{words} ")


def _row(names: str, meaning: str) -> str:
    return "| `{}` | {} |".format(*(_one_line(text).replace("|", "\\|") for text in (names, meaning)))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def on_page_content(html: str, **_: Any) -> str:
    """Replace what docstrings write for Sphinx: roles before names, and two colons before blocks."""
    return _ROLE.sub(r"<code>\1</code>", html).replace("<p>::</p>", "").replace("::</p>", ":</p>")


@event_priority(-100)  # after the search has written its index
def on_post_build(config: MkDocsConfig) -> None:
    """Write the index of the search as a script too, which the theme loads in pages that are opened as files."""
    search = Path(config.site_dir) / "search"
    index = (search / "search_index.json").read_text(encoding="utf-8")
    (search / "search_index.js").write_text(f"var __index = {index}", encoding="utf-8")
