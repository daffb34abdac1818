"""A hook of mkdocs that puts the script which draws diagrams into the site (mkdocs.yml names this file).

Mermaid draws the diagrams in the browser. The theme would fetch it from another server whenever a page is read, so it
is a file of the site: npm fetches the version that is named here once, and it is used only if its digest is the one
that is written here. It is kept beside the environment that runs mkdocs, and never in the repository.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

VERSION = "11.12.0"
SHA256 = "8da4c2f4896c8480739c247b7b6268df8cd1d162099be49cc003b2a2ec503975"
"""Digest of the file that the site gets: the licence in a comment, and the script of the package of that version."""

_FETCH_S = 300
"""Time for npm to fetch the package of 20 MB: enough at 1 Mbit/s and more. Chosen, not measured."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the script that draws; ``docs/javascripts/diagrams.js`` loads it into pages that have something to draw."""
    script = mermaid(Path(sys.prefix) / "share/servefit-docs")
    files.append(File.generated(config, "javascripts/mermaid.min.js", content=script))
    return files


def mermaid(kept_in: Path) -> bytes:
    """Return the script, from the folder ``kept_in`` or from npm. Raises PluginError where there is none, or where its
    digest is another one."""
    kept = kept_in / f"mermaid-{VERSION}.min.js"
    if kept.is_file() and _has_known_digest(content := kept.read_bytes()):
        return content
    content = _fetched()
    if not _has_known_digest(content):
        raise PluginError(f"npm gave another Mermaid {VERSION} than the one that scripts/docs_diagrams.py knows")
    kept_in.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=kept_in, delete=False) as written:
        written.write(content)
    Path(written.name).replace(kept)
    return content


def _has_known_digest(content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == SHA256


def _fetched() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, f"mermaid@{VERSION}"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_FETCH_S)
        except FileNotFoundError as error:
            raise PluginError("npm is needed to draw diagrams (Debian: sudo apt-get install npm)") from error
        except subprocess.CalledProcessError as error:
            raise PluginError(f"npm cannot fetch Mermaid {VERSION}: {error.stderr.strip()[-500:]}") from error
        except subprocess.TimeoutExpired as error:
            raise PluginError(f"npm did not fetch Mermaid {VERSION} within {_FETCH_S} s") from error
        [package] = Path(folder).glob("*.tgz")
        with tarfile.open(package) as archive:
            licence, script = (archive.extractfile(f"package/{name}") for name in ("LICENSE", "dist/mermaid.min.js"))
            if licence is None or script is None:
                raise PluginError(f"the package of Mermaid {VERSION} does not have the script and its licence")
            return b"/*! Mermaid\n\n" + licence.read() + b"*/\n" + script.read()
