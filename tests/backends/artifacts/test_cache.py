"""The cache of artifacts finds them by content, and notices damage."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from servefit.backends.artifacts import cache
from servefit.backends.finding.capabilities import backend
from servefit.backends.libraries.cpu import cpu_features
from servefit.backends.types import Artifact, Target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from servefit.backends.model import Model

pytestmark = pytest.mark.usefixtures("own_home")


def fill(folder: Path) -> tuple[Artifact, Mapping[str, Any]]:
    (folder / "sub").mkdir()
    (folder / "sub" / "weights").write_bytes(b"12345")
    artifact = Artifact(
        backend="xgboost",
        backend_version="1",
        model_digest="abc",
        target=Target.CPU,
        folder=folder,
        facts={"file": "sub/weights"},
    )
    return artifact, {"seconds": 1.5}


def test_what_was_stored_is_found_as_it_was() -> None:
    stored = cache.store("key", fill)
    found = cache.find("key")
    assert found == stored
    assert (found.artifact.folder / "sub" / "weights").read_bytes() == b"12345"
    assert found.report == {"seconds": 1.5}


def test_nothing_is_found_where_nothing_was_stored() -> None:
    assert cache.find("key") is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sub/weights", b"12346"),
        ("sub/weights", b"123"),
        ("more", b"a file that was not there"),
        ("artifact.json", b"{"),
        ("artifact.json", b"[]"),
        ("artifact.json", b'{"schema": 99}'),
    ],
)
def test_a_damaged_entry_is_not_found_and_can_be_made_anew(name: str, content: bytes) -> None:
    (cache.store("key", fill).artifact.folder / name).write_bytes(content)
    assert cache.find("key") is None
    assert cache.store("key", fill) == cache.find("key")


def test_an_entry_with_other_facts_is_not_found() -> None:
    manifest = cache.store("key", fill).artifact.folder / cache.MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b"sub/weights", b"sub/weight2", 1))
    assert cache.find("key") is None


def test_an_entry_in_the_place_of_another_is_not_found() -> None:
    folders = [cache.store(key, fill).artifact.folder for key in ("key", "other")]
    shutil.rmtree(folders[0])
    folders[1].rename(folders[0])
    assert cache.find("key") is None


def test_an_entry_without_one_of_its_files_is_not_found() -> None:
    (cache.store("key", fill).artifact.folder / "sub" / "weights").unlink()
    assert cache.find("key") is None


def test_nothing_is_stored_when_filling_fails(own_home: Path) -> None:
    def fail(folder: Path) -> tuple[Artifact, Mapping[str, Any]]:
        fill(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.store("key", fail)
    assert cache.find("key") is None
    assert not list((own_home / "artifacts").iterdir())


def test_what_a_payload_showed_is_kept_until_the_entry_is_made_anew() -> None:
    entry = cache.add_payload(cache.store("key", fill), "digest", {"rows": 7})
    assert cache.find("key") == entry
    assert entry.payloads == {"digest": {"rows": 7}}
    cache.remove("key")
    assert cache.store("key", fill).payloads == {}


def test_an_entry_that_somebody_else_has_removed_is_removed() -> None:
    cache.store("key", fill)
    cache.remove("key")
    cache.remove("key")
    assert cache.find("key") is None


def test_what_a_payload_showed_is_not_believed_where_it_is_damaged(own_home: Path) -> None:
    cache.add_payload(cache.store("key", fill), "digest", {"rows": 7})
    [kept] = (own_home / "artifacts").glob("*.payloads")
    kept.write_bytes(kept.read_bytes().replace(b"7", b"8"))
    found = cache.find("key")
    assert found is not None
    assert found.payloads == {}


def test_the_manifest_names_every_file_with_its_size() -> None:
    manifest = json.loads((cache.store("key", fill).artifact.folder / cache.MANIFEST).read_bytes())
    assert manifest["files"]["sub/weights"]["bytes"] == 5


@pytest.mark.integration
def test_the_key_depends_on_all_that_determines_the_artifact(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = backend("tl2cgen")
    keys = {
        cache.artifact_key(model, chosen, "1.0", Target.CPU),
        cache.artifact_key(replace(model, digest="other"), chosen, "1.0", Target.CPU),
        cache.artifact_key(model, chosen, "1.1", Target.CPU),
        cache.artifact_key(model, chosen, "1.0", Target.CUDA),
        cache.artifact_key(model, backend("treelite"), "1.0", Target.CPU),
    }
    monkeypatch.setenv("CC", "cc -g")
    keys.add(cache.artifact_key(model, chosen, "1.0", Target.CPU))
    assert len(keys) == 6


def test_the_cpu_is_told_by_architecture_and_flags() -> None:
    assert cpu_features() == cpu_features()
    assert cpu_features().partition("-")[0] in ("x86_64", "aarch64")
