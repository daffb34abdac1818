"""A bundle, put together in a folder: whole, or not at all, and the same for the same deployable."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from servefit import version
from servefit.backends.model.kept import check_kept, copy_kept
from servefit.backends.variables.secret import is_hidden, revealed
from servefit.errors import BackendUnavailable, SpecError
from servefit.profiler.machine.cpus import choose_cpus
from servefit.search.deployment.bundle import container, kubernetes
from servefit.search.deployment.bundle.contents import PORT, Contents
from servefit.search.deployment.bundle.lock import Lock
from servefit.search.deployment.bundle.pythons import pythons
from servefit.search.deployment.bundle.readme import readme
from servefit.search.deployment.bundle.requirements import requirements
from servefit.search.deployment.bundle.secret_files import (
    MANIFEST,
    VARIABLES,
    check_names,
    secret_manifest,
    variables_file,
)
from servefit.search.deployment.bundle.starting import run_script
from servefit.search.deployment.bundle.sums import SUMS, sums, version_of
from servefit.search.deployment.bundle.systemd import unit
from servefit.state import writing

if TYPE_CHECKING:
    from servefit.search.deployment.deployable import Deployable

SERVES = (
    "__init__.py", "py.typed", "checks.py", "currencies.py", "errors.py", "field_types.py", "isolated.py",
    "isolation.py", "plug_ins.py", "processes.py", "quantities.py", "showing.py", "state.py", "stored.py",
    "time_limit.py", "version.py", "backends", "serving",
)  # fmt: skip
"""The parts of servefit that an endpoint is made of. The layers above, which compile, measure and search, stay here."""

_DESCRIPTION = "endpoint.json"
_EXECUTABLE = frozenset({"run"})
_READABLE, _RUNNABLE, _OWN = 0o644, 0o755, 0o600
"""The usual modes of files for everybody, of programs and folders, and of secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was written. ``files`` are their names within ``folder``, in order."""

    folder: Path
    contents: Contents
    lock: Lock
    files: tuple[str, ...]
    size_bytes: int


def write_bundle(deployable: Deployable, folder: Path, *, name: str | None = None, wheels: bool = False) -> Bundle:
    """Write everything that serving ``deployable`` takes into ``folder``, which is new or empty.

    ``name`` is that of the model in URLs. With ``wheels`` the packages are downloaded into the bundle, which
    then starts without a network on a machine like this one. Without, the package indexes of pip are asked for the
    digests of what the first start will install; ``lock`` says where they do not answer.

    Raises SpecError for a folder that holds something and for a name that is none; CorruptModel where the model's file
    has changed; BackendUnavailable where what the backend needs is not installed, or cannot be downloaded;
    UnsupportedModel for a pickle that needs what no package brings; and StateError.
    """
    check_free(folder)
    check_kept(deployable.model)
    contents = _contents(deployable, name)
    with _appearing_whole(folder) as unfinished:
        contents, lock = _write_files(contents, unfinished, wheels=wheels)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Bundle(
        folder=folder,
        contents=contents,
        lock=lock,
        files=tuple(path.relative_to(folder).as_posix() for path in files),
        size_bytes=sum(path.stat().st_size for path in files),
    )


def check_free(folder: Path) -> None:
    """Raise SpecError unless ``folder`` is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError("output folder", str(folder), "exists and is not an empty folder")


def _contents(deployable: Deployable, name: str | None) -> Contents:
    config = deployable.endpoint(name=name, port=PORT)
    if not deployable.profile.name.isprintable():
        # It is written into comments of the unit and the manifests, and may come from a shared database.
        raise SpecError("profile", deployable.profile.name, "is not a name of one line")
    # Without the number of a GPU, which is another one elsewhere
    environment = dict(deployable.configuration.environment)
    secrets = revealed({name: value for name, value in environment.items() if is_hidden(value)})
    check_names(secrets)
    return Contents(
        deployable=deployable,
        secrets=secrets,
        config=replace(
            config,
            # A folder that lies beside the description is found wherever the two are.
            artifact=replace(config.artifact, folder="artifact"),
            environment=tuple((name, value) for name, value in environment.items() if name not in secrets),
        ),
        cpus=choose_cpus(deployable.host.cpus, deployable.profile.vcpus),
        pins=requirements(deployable.artifact),
        model_file=f"model{''.join(deployable.model.file.suffixes)}",
    )


@contextmanager
def _appearing_whole(folder: Path) -> Iterator[Path]:
    """Give a folder to fill that becomes ``folder`` when the block succeeds, and is removed when it does not.

    One that is there already may be somebody's working directory. So it stays, and what was filled is moved into it.
    """
    with writing(folder, variable=None):
        is_there = folder.exists()
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder if is_there else folder.parent, prefix=".servefit-export."))
        try:
            unfinished = aside / "bundle"
            unfinished.mkdir()
            yield unfinished
            if is_there:
                # The description last: nothing starts without it.
                for path in sorted(unfinished.iterdir(), key=lambda path: (path.name == _DESCRIPTION, path.name)):
                    path.rename(folder / path.name)
            else:
                unfinished.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _write_files(contents: Contents, folder: Path, *, wheels: bool) -> tuple[Contents, Lock]:
    """Fill ``folder``, and return the contents with their version, and the lock."""
    deployable = contents.deployable
    if wheels:
        _download(contents, folder / "wheels")
        lock = Lock.of_wheels(contents.pins, folder / "wheels")
    else:
        lock = Lock.of_indexes(contents.pins)
    contents = replace(contents, pythons=pythons(deployable.artifact, contents.pins, lock.files, lock.reason))
    shutil.copytree(deployable.artifact.folder, folder / "artifact", copy_function=shutil.copyfile)
    (folder / "model").mkdir()
    copy_kept(deployable.model, folder / "model" / contents.model_file)
    _copy_servefit(folder / "lib" / "servefit")
    _write(folder, {"run": run_script(contents.secrets, contents.pythons), "requirements.lock": lock.text})
    (folder / _DESCRIPTION).write_bytes(contents.config.document())
    checksums = sums(folder)
    contents = replace(contents, version=version_of(checksums))
    texts = {
        SUMS: checksums,
        "README.md": readme(contents, with_wheels=wheels),
        f"{contents.label}.service": unit(contents),
        "Dockerfile": container.dockerfile(contents, with_wheels=wheels),
        ".dockerignore": container.dockerignore(),
        "kserve.yaml": kubernetes.kserve(contents),
        "kubernetes.yaml": kubernetes.plain(contents),
    }
    if contents.secrets:
        texts[VARIABLES] = variables_file(contents.secrets)
        texts[MANIFEST] = secret_manifest(contents.secrets, contents.secret)
    _write(folder, texts)
    for path in folder.rglob("*"):
        # Users other than the one who exports may run it; the folder itself keeps what the umask says.
        path.chmod(_RUNNABLE if path.is_dir() or path.name in _EXECUTABLE else _READABLE)
    for name in (VARIABLES, MANIFEST) if contents.secrets else ():
        (folder / name).chmod(_OWN)
    return contents, lock


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _copy_servefit(folder: Path) -> None:
    """Copy what serves, out of wherever servefit is installed, links followed; tests are not part of the package."""
    package = Path(version.__file__).parent
    folder.mkdir(parents=True)
    for name in SERVES:
        if (package / name).is_dir():
            shutil.copytree(
                package / name,
                folder / name,
                copy_function=shutil.copyfile,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        else:
            shutil.copyfile(package / name, folder / name)
    if licence := metadata.distribution("servefit").read_text("licenses/LICENSE"):
        (folder / "LICENSE").write_text(licence, encoding="utf-8")


def _download(contents: Contents, folder: Path) -> None:
    """Have pip download the wheels of all packages. Raises BackendUnavailable."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), *contents.pins]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise BackendUnavailable(
            contents.config.artifact.backend,
            f"pip cannot download the packages that it needs: {lines[-1] if lines else 'it said nothing'}",
            remedy="export without wheels, and let the first start install them",
        )
