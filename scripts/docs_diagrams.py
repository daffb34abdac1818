"""A hook of mkdocs that puts the script which draws diagrams into the site (mkdocs.yml names this file).

Mermaid draws the diagrams in the browser. The theme would fetch it from another server whenever a page is read, so it
is a file of the site: npm fetches the version that is named here once, and it is used only if its digest is the one
that is written here. It is kept beside the environment that runs mkdocs, and never in the repository.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from npm_script import NpmError, NpmScript

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

MERMAID = NpmScript(
    title="Mermaid",
    package="mermaid",
    version="11.12.0",
    path="dist/mermaid.min.js",
    sha256="8da4c2f4896c8480739c247b7b6268df8cd1d162099be49cc003b2a2ec503975",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the script that draws; ``docs/javascripts/diagrams.js`` loads it into pages that have something to draw."""
    script = mermaid(Path(sys.prefix) / "share/servefit-docs")
    files.append(File.generated(config, "javascripts/mermaid.min.js", content=script))
    return files


def mermaid(kept_in: Path) -> bytes:
    """Return the script, from the folder ``kept_in`` or from npm. Raises PluginError where there is none, or where its
    digest is another one."""
    kept = kept_in / f"mermaid-{MERMAID.version}.min.js"
    if kept.is_file() and MERMAID.is_content(content := kept.read_bytes()):
        return content
    try:
        content = MERMAID.fetch()
    except NpmError as error:
        raise PluginError(str(error)) from error
    kept_in.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=kept_in, delete=False) as written:
        written.write(content)
    Path(written.name).replace(kept)
    return content
