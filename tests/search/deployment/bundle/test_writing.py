"""A bundle is written whole or not at all, is the same every time, and can be read by whoever runs it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import servefit
from servefit.errors import BackendUnavailable, CorruptModel, SpecError, StateError
from servefit.serving.config import EndpointConfig

if TYPE_CHECKING:
    from tests.search.deployment.bundle.conftest import Export

    from servefit.search.deployment.bundle.writing import Bundle
    from servefit.search.deployment.deployable import Deployable

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("asked_once")]

PACKAGE = Path(servefit.__file__).parent


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_holds_all_that_it_takes_to_serve(export: Export, deployable: Deployable) -> None:
    bundle = export()
    kept = contents(bundle.folder)
    assert tuple(sorted(kept)) == bundle.files
    assert {name for name in kept if "/" not in name} == {
        ".dockerignore",
        "Dockerfile",
        "README.md",
        "SHA256SUMS",
        "endpoint.json",
        "fraud-v2.service",
        "kserve.yaml",
        "kubernetes.yaml",
        "requirements.lock",
        "run",
    }
    assert kept["model/model.ubj"] == deployable.model.file.read_bytes()
    assert kept["artifact/model.ubj"] == (deployable.artifact.folder / "model.ubj").read_bytes()
    assert b"Apache License" in kept["lib/servefit/LICENSE"]


def test_the_description_says_what_was_measured_and_finds_the_artifact_beside_it(
    export: Export, deployable: Deployable
) -> None:
    bundle = export()
    config = EndpointConfig.read(bundle.folder / "endpoint.json")
    assert config.artifact.folder == str(bundle.folder / "artifact")
    assert config.opened().facts == deployable.artifact.facts
    assert (config.name, config.workers, config.max_batch, config.batch_delay_us) == ("Fraud_v2", 2, 4, 500)
    assert config.settings == deployable.configuration.settings
    assert config.environment == deployable.configuration.environment
    assert (config.host, config.port) == ("127.0.0.1", 8080)


def test_a_bundle_does_not_say_where_it_was_made(export: Export, tmp_path: Path, deployable: Deployable) -> None:
    home = str(deployable.artifact.folder.parent).encode()
    for name, content in contents(export().folder).items():
        if not name.startswith("lib/"):
            assert str(tmp_path).encode() not in content, name
            assert home not in content, name


def test_two_bundles_of_the_same_are_the_same(export: Export, tmp_path: Path) -> None:
    first, second = export(folder=tmp_path / "one"), export(folder=tmp_path / "other")
    assert contents(first.folder) == contents(second.folder)


def test_two_deployments_of_one_model_have_two_names_and_the_same_exported_again_has_the_same(
    export: Export, deployable: Deployable, tmp_path: Path
) -> None:
    other = replace(deployable, configuration=replace(deployable.configuration, workers=1))
    bundles = [export(folder=tmp_path / str(nth), of=of) for nth, of in enumerate((deployable, other, deployable))]
    first, second, again = (bundle.contents.version for bundle in bundles)
    assert first == again != second
    for bundle in bundles:
        digest = hashlib.sha256((bundle.folder / "SHA256SUMS").read_bytes()).hexdigest()
        assert bundle.contents.image == f"fraud-v2:{digest[:12]}"
        for name in ("README.md", "Dockerfile", "kserve.yaml", "kubernetes.yaml"):
            assert bundle.contents.image in (bundle.folder / name).read_text(), name


def test_the_sums_name_all_that_decides_how_the_endpoint_runs(plain: Bundle) -> None:
    named = {line.split(maxsplit=1)[1] for line in (plain.folder / "SHA256SUMS").read_text().splitlines()}
    aside = {
        "SHA256SUMS",
        "README.md",
        "Dockerfile",
        ".dockerignore",
        "fraud-v2.service",
        "kserve.yaml",
        "kubernetes.yaml",
    }
    assert named == set(plain.files) - aside


def test_the_part_of_servefit_that_serves_travels_without_links_and_needs_no_other_part(export: Export) -> None:
    library = export().folder / "lib"
    assert not [path for path in library.rglob("*") if path.is_symlink()]
    assert {path.name for path in (library / "servefit").iterdir()} == {
        "LICENSE", "__init__.py", "backends", "checks.py", "currencies.py", "errors.py", "field_types.py",
        "isolated.py", "isolation.py", "plug_ins.py", "processes.py", "py.typed", "quantities.py", "serving",
        "showing.py", "state.py", "stored.py", "time_limit.py", "version.py",
    }  # fmt: skip
    for layer in ("backends", "serving"):
        travelled = {path.relative_to(library / "servefit") for path in (library / "servefit" / layer).rglob("*.py")}
        assert travelled == {path.relative_to(PACKAGE) for path in (PACKAGE / layer).rglob("*.py")}


def test_whoever_runs_it_may_read_it_whatever_the_umask(export: Export) -> None:
    before = os.umask(0o077)
    try:
        folder = export().folder
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700, "what the user named has the rights that the user wants"
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert modes.pop("run") == 0o755
    directories = {path.name for path in folder.rglob("*") if path.is_dir()}
    assert {modes.pop(name) for name in directories} == {0o755}
    assert set(modes.values()) == {0o644}


def test_an_empty_folder_is_filled_where_it_is(export: Export, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    identity = (tmp_path / "mine").stat().st_ino
    bundle = export(folder=tmp_path / "mine")
    assert (tmp_path / "mine").stat().st_ino == identity
    assert (tmp_path / "mine" / "run").is_file()
    assert set(bundle.files) == set(contents(tmp_path / "mine"))


def test_a_folder_that_holds_something_is_refused_and_left_alone(export: Export, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("mine")
    with pytest.raises(SpecError, match="not an empty folder"):
        export(folder=tmp_path / "mine")
    with pytest.raises(SpecError, match="not an empty folder"):
        export(folder=tmp_path / "mine" / "precious")
    assert contents(tmp_path / "mine") == {"precious": b"mine"}


@pytest.mark.parametrize("is_there", [True, False])
def test_what_cannot_be_finished_leaves_nothing_behind(
    export: Export, deployable: Deployable, tmp_path: Path, is_there: bool
) -> None:
    folder = tmp_path / "mine"
    if is_there:
        folder.mkdir()
    gone = replace(deployable.artifact, folder=tmp_path / "gone")
    with pytest.raises(StateError):
        export(folder=folder, of=replace(deployable, artifact=gone))
    assert folder.exists() == is_there
    assert [path.name for path in tmp_path.rglob("*")] == (["mine"] if is_there else [])


def test_packages_that_cannot_be_downloaded_leave_nothing_behind(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(BackendUnavailable, match="pip cannot download the packages that it needs: ERROR: No matching"):
        export(wheels=True)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_has_changed_since_is_refused(export: Export, deployable: Deployable, tmp_path: Path) -> None:
    changed = replace(deployable.model, digest="0" * 64)
    with pytest.raises(CorruptModel, match="not what it was"):
        export(of=replace(deployable, model=changed))
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_no_url_can_have_is_refused(export: Export, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="name"):
        export(name="a/b")
    assert list(tmp_path.iterdir()) == []


def test_the_run_script_says_in_one_line_that_there_is_no_python(export: Export, tmp_path: Path) -> None:
    bundle = export()
    (tmp_path / "bin").mkdir()
    for tool in ("dirname", "readlink", "cat", "grep", "sha256sum"):
        (tmp_path / "bin" / tool).symlink_to(f"/usr/bin/{tool}")
    ended = subprocess.run(
        [bundle.folder / "run"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert ended.returncode == 4
    assert ended.stderr == (
        f"run: this needs Python {version}, and there is none; install it, or name one with SERVEFIT_PYTHON\n"
    )
    assert not (bundle.folder / ".venv").exists()


def started(folder: Path, *, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    """The bundle, with a Python that succeeds at once in whatever it is told."""
    environment = {"PATH": path, "SERVEFIT_PYTHON": "/bin/true"}
    return subprocess.run([folder / "run"], env=environment, capture_output=True, text=True, check=False)


def test_a_bundle_that_is_as_it_was_exported_starts(copied: Path) -> None:
    ended = started(copied)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", ["artifact/model.ubj", "model/model.ubj", "lib/servefit/serving/worker.py"])
@pytest.mark.parametrize("is_there", [True, False], ids=["changed", "gone"])
def test_a_bundle_with_a_changed_artifact_model_or_code_does_not_start(copied: Path, name: str, is_there: bool) -> None:
    content = bytearray((copied / name).read_bytes())
    (copied / name).unlink()
    if is_there:
        content[len(content) // 2] ^= 1
        (copied / name).write_bytes(content)
    ended = started(copied)
    assert ended.returncode == 2
    assert ended.stderr == f"run: {name} is not what was exported; copy the bundle again, or export it anew\n"
    assert not (copied / ".venv").exists()


@pytest.mark.parametrize("name", ["endpoint.json", "requirements.lock", "run"])
def test_a_bundle_whose_description_was_edited_starts(copied: Path, name: str) -> None:
    (copied / name).write_text((copied / name).read_text() + "\n")
    ended = started(copied)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_bundle_that_cannot_be_checked_does_not_start(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("dirname", "readlink"):
        (tmp_path / "bin" / tool).symlink_to(f"/usr/bin/{tool}")
    without_a_tool = started(copied, path=str(tmp_path / "bin"))
    (copied / "SHA256SUMS").unlink()
    for ended in (without_a_tool, started(copied)):
        assert ended.returncode == 2
        assert ended.stderr == "run: SHA256SUMS cannot be checked: it is missing or damaged, or there is no sha256sum\n"


def test_a_model_may_be_called_anything(export: Export, deployable: Deployable, tmp_path: Path) -> None:
    odd = tmp_path / "my model\n\\2 *.ubj"
    odd.write_bytes(deployable.model.file.read_bytes())
    bundle = export(of=replace(deployable, model=replace(deployable.model, file=odd)))
    assert started(bundle.folder).returncode == 0
