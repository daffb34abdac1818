"""The minor versions of Python that a bundle runs on: the one that exported it, and each other one of which the package
index proves that it does.

It is proven where everything that is pinned has a wheel for that Python on this platform and admits it, where nothing
else is needed there, and where the artifact holds no code of one Python.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Self

from servefit.search.deployment.bundle.requirements import depends_on, modules_of_pickle, python_version

if TYPE_CHECKING:
    from packaging.tags import Tag

    from servefit.backends.types import Artifact

_MINORS = range(11, 21)
"""The lowest that servefit runs on, and more than there are."""

_DATA = frozenset(
    {
        *("forest", "lightgbm", "onnxruntime", "onnxruntime/int8-dynamic", "onnxruntime/int8-static", "openvino"),
        *("openvino/bf16", "openvino/int8", "tl2cgen", "treelite", "xgboost"),
    }
)
"""Backends whose artifacts are data or machine code, the same for every Python."""

_BYTECODE = frozenset({"cloudpickle", "dill"})
"""Packages whose pickles may hold the bytecode of functions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pythons:
    """``versions`` are the minor versions, in order. ``reason`` says why it is no other one, as far as somebody asks
    for it: that of the one above, or of all."""

    versions: tuple[str, ...]
    reason: str

    @classmethod
    def exporting(cls, reason: str) -> Self:
        """The Python that exports, and for this reason no other."""
        return cls(versions=(python_version(),), reason=reason)

    @property
    def text(self) -> str:
        """The versions, as in "3.11, 3.12 or 3.13"."""
        *others, last = self.versions
        return f"{', '.join(others)} or {last}" if others else last


def pythons(
    artifact: Artifact, pins: Sequence[str], wheels: Mapping[str, Sequence[str]], missing: str | None
) -> Pythons:
    """Return what serves ``artifact`` with ``pins``, of which there are these ``wheels``, files by name. ``missing``
    says why no index told of them."""
    if (bound := _bound_to(artifact) or missing) is not None:
        return Pythons.exporting(bound)
    own = python_version()
    against = {f"3.{minor}": _against(minor, artifact, pins, wheels) for minor in _MINORS}
    versions = tuple(version for version, reason in against.items() if reason is None or version == own)
    above = [version for version in against if _minor(version) > _minor(versions[-1])]
    return Pythons(versions=versions, reason=against[above[0]] or "" if above else "")


def _bound_to(artifact: Artifact) -> str | None:
    """Return why an artifact is bound to the Python that made it, None where it is not."""
    own = python_version()
    if artifact.backend in _DATA:
        return None
    if artifact.backend != "sklearn":
        return f"what {artifact.backend} keeps of a model was tried with Python {own} alone"
    if writers := sorted(modules_of_pickle(artifact.folder / "model.pkl") & _BYTECODE):
        return f"its pickle may hold bytecode of Python {own}, which {writers[0]} writes"
    return None


def _against(minor: int, artifact: Artifact, pins: Sequence[str], wheels: Mapping[str, Sequence[str]]) -> str | None:
    """Return what keeps a bundle from running on Python 3.``minor``, None where nothing does."""
    from packaging.specifiers import SpecifierSet

    version, tags = f"3.{minor}", _tags(minor)
    pinned = {name: pinned_version for name, _, pinned_version in (pin.partition("==") for pin in pins)}
    for pin, name in zip(pins, pinned, strict=True):
        if not any(_tags_of(file) & tags for file in wheels[pin]):
            return f"{pin} has no wheel for Python {version} on this platform"
        if not SpecifierSet(metadata.metadata(name).json.get("requires_python", "")).contains(f"{version}.0"):
            return f"{pin} does not admit Python {version}"
    for name, needed, wanted in depends_on(pinned, artifact, version):
        if not SpecifierSet(wanted).contains(pinned.get(needed, "0"), prereleases=True) or needed not in pinned:
            return f"{name} needs {needed}{wanted} on Python {version}"
    return None


def _minor(version: str) -> int:
    return int(version.partition(".")[2])


def _tags(minor: int) -> frozenset[Tag]:
    """Return the tags of wheels that pip takes on Python 3.``minor`` and this platform."""
    from packaging.tags import compatible_tags, cpython_tags, platform_tags

    platforms = list(platform_tags())
    version = (sys.version_info.major, minor)
    interpreter = f"cp{version[0]}{minor}"
    return frozenset(
        [
            *cpython_tags(version, platforms=platforms),
            *compatible_tags(version, interpreter=interpreter, platforms=platforms),
        ]
    )


def _tags_of(file: str) -> frozenset[Tag]:
    from packaging.utils import parse_wheel_filename

    return parse_wheel_filename(file)[3] if file.endswith(".whl") else frozenset()
