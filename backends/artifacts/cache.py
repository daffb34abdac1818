"""Compiled artifacts on disk, found again by content.

The key is a hash of everything that determines an artifact: model, backend, library version, target, flags, compiler
and CPU. An entry is a folder of the artifact's files with a manifest naming them, their sizes and digests, sealed for
that key: an entry that is damaged, or another one's, is noticed and made anew. The manifest also keeps what the check
of the artifact found; how artifacts are made and checked is ``compilation``'s business.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit import state
from servefit.backends.model.keeping import digest_in_name
from servefit.backends.types import Artifact, Target

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.model import Model
    from servefit.backends.types import Capabilities

MANIFEST = "artifact.json"
SCHEMA = 2
"""Raise it when artifacts that are kept are not to be used any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An artifact in the cache. ``report`` says how it was made and checked, ``payloads`` what was found when it was
    checked on payloads later, by digest of their rows; JSON values only."""

    key: str
    artifact: Artifact
    report: Mapping[str, Any]
    payloads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def artifact_key(
    model: Model,
    backend: Capabilities,
    version: str,
    target: Target,
    calibration: np.ndarray | None = None,
    spared: Sequence[str] = (),
) -> str:
    """Return the name of the cache entry for ``model`` compiled by ``backend``, calibrated on these rows if on any,
    with the layers ``spared`` as they were."""
    parts: list[Any] = [SCHEMA, model.digest, model.format, backend.name, version, target, backend.cache_key()]
    if model.converted is not None:
        parts.append(digest_in_name(model.converted) or "")
    if calibration is not None:
        parts += [calibration.shape, calibration.dtype.name, sha256(calibration.tobytes()).hexdigest()]
    parts += [list(spared)] if spared else []
    return sha256(json.dumps(parts).encode()).hexdigest()[:40]


def find(key: str) -> Entry | None:
    """Return the intact entry called ``key``, or None. A damaged one is removed. Raises StateError."""
    folder = _folder(key)
    if not folder.is_dir():
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        sealed = manifest.pop("seal") == _seal(key, manifest)
        if sealed and manifest["schema"] == SCHEMA and manifest["files"] == _files(folder):
            return _entry(key, manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Whatever is wrong with it, the remedy is the same.
        pass
    remove(key)
    return None


def store(key: str, fill: Callable[[Path], tuple[Artifact, Mapping[str, Any]]]) -> Entry:
    """Make the entry ``key``: ``fill`` writes files into the folder it is given, and gives the artifact and its report.

    Nothing is stored when ``fill`` raises. Raises StateError too.
    """
    _payloads_file(key).unlink(missing_ok=True)
    with state.filling(_folder(key)) as temporary:
        artifact, report = fill(temporary)
        manifest = {
            "schema": SCHEMA,
            "backend": artifact.backend,
            "backend_version": artifact.backend_version,
            "model_digest": artifact.model_digest,
            "target": artifact.target.value,
            "facts": dict(artifact.facts),
            "report": dict(report),
            "files": _files(temporary),
        }
        content = json.dumps({**manifest, "seal": _seal(key, manifest)}, indent=1)
        state.write_atomically(temporary / MANIFEST, content.encode())
    return _entry(key, manifest)


def add_payload(entry: Entry, digest: str, findings: Mapping[str, Any]) -> Entry:
    """Add the findings of the check on one more payload. Raises StateError."""
    payloads = {**entry.payloads, digest: dict(findings)}
    state.write_sealed(_payloads_file(entry.key), json.dumps(payloads).encode(), about=entry.key)
    return Entry(key=entry.key, artifact=entry.artifact, report=entry.report, payloads=payloads)


def remove(key: str) -> None:
    """Remove the entry ``key``: it is damaged, or turned out wrong. Raises StateError."""
    folder = _folder(key)
    with state.writing(folder):
        _payloads_file(key).unlink(missing_ok=True)
        with suppress(FileNotFoundError):  # somebody else has removed it
            shutil.rmtree(folder)


def _folder(key: str) -> Path:
    return state.state_folder("artifacts") / key


def _payloads_file(key: str) -> Path:
    return state.state_folder("artifacts") / f"{key}.payloads"


def _entry(key: str, manifest: Mapping[str, Any]) -> Entry:
    payloads = json.loads(state.read_sealed(_payloads_file(key), about=key) or b"{}")
    artifact = Artifact(
        backend=manifest["backend"],
        backend_version=manifest["backend_version"],
        model_digest=manifest["model_digest"],
        target=Target(manifest["target"]),
        folder=_folder(key),
        facts=manifest["facts"],
    )
    return Entry(key=key, artifact=artifact, report=manifest["report"], payloads=payloads)


def _seal(key: str, manifest: Mapping[str, Any]) -> str:
    """Return the seal of a manifest: one that was changed, or is another entry's, has another."""
    return state.seal(json.dumps(manifest).encode(), about=key)


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file below ``folder`` but the manifest, by relative path."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST:
            with path.open("rb") as stream:
                digest = file_digest(stream, "sha256").hexdigest()
            files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    return files
