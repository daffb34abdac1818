"""Models with a script of their own, as SageMaker's ``model.tar.gz`` has it: finding the script, without reading it.

Where the script is trusted, the model is the whole archive: all that it may open. A folder becomes such an archive,
the same bytes for the same files.
"""

from __future__ import annotations

import gzip
import os
import platform
import re
import tarfile
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from servefit.backends.model.archive import is_model, visible_files
from servefit.errors import CorruptModel

SCRIPT = "code/inference.py"
"""Where SageMaker's framework containers look for it, from the top of the archive."""

BESIDE = "beside the script is a model that servefit serves by itself"
"""The words by which a warning about such a file is known again, once the file was measured."""

REQUIREMENTS = "code/requirements.txt"
_CODE = "code"

_REQUIREMENT = re.compile(r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*([=<>!~;@].*)?")
"""A line of requirements.txt that names a package (PEP 508)."""


def has_script(folder: Path) -> bool:
    """Return whether the unpacked archive has a script."""
    return (folder / SCRIPT).is_file()


def misplaced_script(folder: Path) -> str | None:
    """Return a file with the script's name in a place where SageMaker's containers ignore it; None if there is none."""
    files = [file.relative_to(folder) for file in visible_files(folder)]
    return next((str(file) for file in files if file.name == Path(SCRIPT).name and str(file) != SCRIPT), None)


def other_code(folder: Path) -> str | None:
    """Return a file of Python's in the script's folder, where there is one."""
    return next((str(file.relative_to(folder)) for file in visible_files(folder / _CODE) if file.suffix == ".py"), None)


def required_packages(folder: Path) -> list[str]:
    """Return the packages that the script's requirements.txt names, in their order."""
    file = folder / REQUIREMENTS
    if not file.is_file():
        return []
    lines = (line.partition("#")[0] for line in file.read_text(errors="replace").splitlines())
    return [match["name"] for match in map(_REQUIREMENT.fullmatch, lines) if match is not None]


def models_beside(folder: Path) -> list[Path]:
    """Return the files in an unpacked archive that servefit serves without the script."""
    outside = [file for file in visible_files(folder) if file.relative_to(folder).parts[0] != _CODE]
    return [file for file in outside if is_model(file)]


def python_and_packages() -> str:
    """Return the version of Python, and a short digest of the packages that are installed, with their versions."""
    packages = sorted(f"{package.name}=={package.version}" for package in metadata.distributions())
    return f"{platform.python_version()}-{sha256(' '.join(packages).encode()).hexdigest()[:12]}"


def _refuse_links(folder: Path) -> None:
    """Raise CorruptModel for a link in ``folder`` that is not to a file."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in (*folders, *names) if not name.startswith(".")):
            if path.is_symlink() and not path.is_file():
                what = "to a folder" if path.is_dir() else "that leads nowhere"
                said = f"{path.relative_to(folder)} is a link {what}"
                raise CorruptModel(folder, said, remedy="put what it stands for in its place")


def pack(folder: Path, archive: Path) -> None:
    """Write the files of ``folder`` that are not hidden into the gzipped tar ``archive``: neither dates nor owners, and
    not compressed, so that the same files are the same bytes. Raises CorruptModel for a link that leads out, or
    nowhere, or to a folder, whose files would be missing."""
    root = folder.resolve()
    _refuse_links(folder)
    with (
        archive.open("wb") as stream,
        gzip.GzipFile("", "wb", compresslevel=0, fileobj=stream, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as written,
    ):
        for file in visible_files(folder):
            if not file.resolve().is_relative_to(root):
                raise CorruptModel(folder, f"{file.relative_to(folder)} is a link that leads out of it")
            if file.suffix == ".pyc":  # Python's own copies of what is there as source
                continue
            member = tarfile.TarInfo(file.relative_to(folder).as_posix())
            with file.open("rb") as content:
                member.size = os.fstat(content.fileno()).st_size
                written.addfile(member, content)
