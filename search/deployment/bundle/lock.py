"""requirements.lock: the pins of a bundle with the digests of all files that pip may install for them.

An export asks the package indexes that pip is told of. Where they do not say, the lock has no digests and says why: a
bundle without them is of more use than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from servefit.search.deployment.bundle.package_index import IndexUnreachable, PackageFile, PackageIndex
from servefit.search.deployment.bundle.pip_settings import PipSettings, PipUnknown
from servefit.search.deployment.bundle.requirements import platform_name, python_version

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_SHA256 = re.compile(r"[0-9a-f]{64}")

REMEDY = "export again where pip reaches its package index, or with --wheels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """``pins`` are the lines without digests. Each has ``hashes``, the digests of its ``files``, which are there by
    name; none where ``reason`` says why."""

    pins: tuple[str, ...]
    hashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reason: str | None = None

    @classmethod
    def of_indexes(cls, pins: tuple[str, ...]) -> Self:
        """Make a lock with the digests of every file of these versions, for any platform, that pip would find."""
        try:
            settings = PipSettings.read()
            if not settings.indexes and not settings.links:
                return cls(pins=pins, reason="pip is told to ask no package index")
            index = PackageIndex(settings)
            linked = list(index.linked_files())
            candidates = [[*linked, *index.files(pin.partition("==")[0])] for pin in pins]
        except (PipUnknown, IndexUnreachable) as error:
            return cls(pins=pins, reason=error.message)
        return cls._of_files(pins, candidates)

    @classmethod
    def of_wheels(cls, pins: tuple[str, ...], folder: Path) -> Self:
        """Make a lock with the digests of the files in ``folder``, which has those that a bundle brings along."""
        index = PackageIndex(PipSettings(indexes=(), links=(str(folder),)))
        return cls._of_files(pins, [list(index.linked_files())] * len(pins))

    @classmethod
    def _of_files(cls, pins: tuple[str, ...], candidates: Iterable[Sequence[PackageFile]]) -> Self:
        of_pins = {pin: _distributions(pin, files) for pin, files in zip(pins, candidates, strict=True)}
        hashes = {pin: tuple(sorted({file.sha256 for file in files if file.sha256})) for pin, files in of_pins.items()}
        if missing := [pin for pin, digests in hashes.items() if not digests]:
            return cls(pins=pins, reason=f"no package index has the digest of a file of {', '.join(missing)}")
        return cls(
            pins=pins,
            hashes=hashes,
            files={pin: tuple(file.name for file in files) for pin, files in of_pins.items()},
        )

    @property
    def text(self) -> str:
        """A file for ``pip install --no-deps -r``, which wants the digests of all files as soon as it has one."""
        header = [
            f"# Python {python_version()} on {platform_name()}. All that is needed is listed: install with --no-deps.",
            "# Packages whose library alone is opened (xgboost, lightgbm, treelite) come without what they depend on.",
        ]
        if self.reason is not None:
            header.append(f"# No digests, so pip takes what its index has: {self.reason}. For digests {REMEDY}.")
        lines = (
            " \\\n    ".join([pin, *(f"--hash=sha256:{digest}" for digest in self.hashes.get(pin, ()))])
            for pin in self.pins
        )
        return "\n".join([*header, *lines, ""])


def _distributions(pin: str, files: Iterable[PackageFile]) -> list[PackageFile]:
    """Return those of ``files`` that pip may install for a pin, with a digest."""
    from packaging.specifiers import SpecifierSet

    name, _, version = pin.partition("==")
    wanted = SpecifierSet(f"=={version}")
    return [
        file for file in files if _SHA256.fullmatch(file.sha256 or "") and _is_distribution(file.name, name, wanted)
    ]


def _is_distribution(file: str, name: str, wanted: SpecifierSet) -> bool:
    """Return whether a file is a wheel or a source distribution of one of the versions that are ``wanted``."""
    from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

    try:
        project, version = parse_wheel_filename(file)[:2] if file.endswith(".whl") else parse_sdist_filename(file)
    except (InvalidSdistFilename, InvalidWheelFilename):
        return False
    return project == name and wanted.contains(version, prereleases=True)
