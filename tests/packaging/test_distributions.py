"""The wheel and the source distribution, built from a copy of this working tree and looked into.

src/servefit reaches the three layers through symlinks (docs/adr/0001); what is checked here is that they arrive.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import servefit

if TYPE_CHECKING:
    from email.message import Message

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

ROOT = Path(__file__).parents[2]
LAYERS = ("backends", "profiler", "search")
INFO = f"servefit-{servefit.__version__}.dist-info"
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "src", *LAYERS)


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution, and the wheel built from it."""
    tree = tmp_path_factory.mktemp("tree")
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=left_out)
        else:
            shutil.copy2(ROOT / name, tree / name)
    # The kernel is compiled as always, and last of all not optimised: that takes a second and not half a minute.
    compiler = tmp_path_factory.mktemp("compiler") / "gcc"
    compiler.write_text('#!/bin/sh\nexec gcc "$@" -O0\n')
    compiler.chmod(0o755)
    # The dev extra holds setuptools, so nothing is downloaded.
    command = [sys.executable, "-m", "build", "--no-isolation", str(tree)]
    built = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "CC": str(compiler)}
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return tree / "dist"


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    [path] = dist.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def wheel_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(wheel, tmp_path_factory.mktemp("installed"))


def install(wheel: Path, folder: Path) -> Path:
    """The bin folder of an environment that holds the wheel. Its dependencies are borrowed from this one."""
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    done = subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [site_packages] = folder.glob("lib/python*/site-packages")
    # Paths in a .pth file come after the environment's own, so it is the wheel's servefit that is found, and the
    # .pth file of the editable servefit over there is not followed.
    [borrowed] = [path for path in sys.path if path.endswith("site-packages") and path.startswith(sys.prefix)]
    (site_packages / "borrowed.pth").write_text(borrowed)
    return folder / "bin"


def modules(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.py")}


@pytest.mark.parametrize("layer", LAYERS)
def test_the_wheel_holds_every_module_of_a_layer_under_servefit(layer: str, wheel_files: set[str]) -> None:
    expected = {f"servefit/{layer}/{name}" for name in modules(ROOT / layer)}
    assert f"servefit/{layer}/__init__.py" in expected
    assert expected <= wheel_files


def test_the_wheel_holds_the_files_that_are_not_modules(wheel_files: set[str]) -> None:
    assert {"servefit/py.typed", "servefit/profiler/machine/catalogue.toml"} <= wheel_files


def test_the_wheel_installs_nothing_but_servefit(wheel_files: set[str]) -> None:
    assert {name.partition("/")[0] for name in wheel_files} == {"servefit", INFO}
    package = {name for name in wheel_files if name.startswith("servefit/")}
    assert {Path(name).suffix for name in package} == {".css", ".j2", ".js", ".py", ".pyi", ".so", ".toml", ".typed"}


def test_the_wheel_holds_the_kernel_for_every_later_python(wheel: Path, wheel_files: set[str]) -> None:
    assert "servefit/backends/forest/_kernel.abi3.so" in wheel_files
    assert "-cp311-abi3-" in wheel.name


def test_the_source_distribution_holds_files_and_no_symlinks(dist: Path) -> None:
    [path] = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    assert not [member.name for member in members if member.issym() or member.islnk()]
    for layer in LAYERS:
        assert {f"src/servefit/{layer}/{name}" for name in modules(ROOT / layer)} <= names
    assert {"src/servefit/profiler/machine/catalogue.toml", "LICENSE", "README.md", "pyproject.toml"} <= names
    kernel = ROOT / "backends" / "forest" / "kernel"
    sources = {str(path.relative_to(ROOT)) for path in kernel.rglob("*.[ch]")}
    assert len(sources) > 10
    assert {f"src/servefit/{source}" for source in sources} <= names


def test_the_licence_and_the_readme_travel_with_the_wheel(metadata: Message, wheel_files: set[str]) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert f"{INFO}/licenses/LICENSE" in wheel_files
    assert (ROOT / "README.md").read_text().strip() in str(metadata.get_payload())


def test_the_wheel_holds_what_draws_the_plots_of_reports_with_its_licence(wheel: Path) -> None:
    checked = subprocess.run([ROOT / "scripts/plotly", "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with zipfile.ZipFile(wheel) as archive:
        script = archive.read("servefit/report/plotly-basic.min.js")
    assert script == (ROOT / "src/servefit/report/plotly-basic.min.js").read_bytes()
    assert b"MIT License" in script
    assert b"Permission is hereby granted, free of charge" in script


def test_tools_for_development_are_no_dependencies(metadata: Message) -> None:
    always = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert any(line.startswith("numpy") for line in always)
    assert not [
        line for line in always if line.startswith(("pytest", "mypy", "ruff", "lightgbm", "plotly", "scikit-learn"))
    ]


@pytest.mark.thorough
def test_the_installed_package_imports_from_where_it_was_installed(installed: Path, tmp_path: Path) -> None:
    script = (
        "import servefit, servefit.backends, servefit.profiler, servefit.search; "
        "print(servefit.__file__, servefit.search.__file__, servefit.Model.__module__)"
    )
    command = [str(installed / "python"), "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    package, search, model = done.stdout.split()
    assert Path(package).is_relative_to(installed.parent)
    assert Path(search) == Path(package).parent / "search" / "__init__.py"
    assert model.startswith("servefit.backends.model")


@pytest.mark.thorough
def test_the_installed_kernel_can_be_loaded(installed: Path, tmp_path: Path) -> None:
    script = "from servefit.backends.finding.capabilities import backend; print(backend('forest').probe())"
    command = [str(installed / "python"), "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "available=True" in done.stdout


@pytest.mark.thorough
def test_the_installed_command_explains_itself(installed: Path, tmp_path: Path) -> None:
    command = [str(installed / "servefit"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("recommend", "serve", "export", "load", "profile", "compile", "host", "profiles", "backends", "demo"):
        assert name in done.stdout


@pytest.mark.thorough
def test_the_installed_profiles_are_those_of_the_catalogue(installed: Path, tmp_path: Path) -> None:
    command = [str(installed / "servefit"), "profiles", "--all", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "ml.m5.large" in done.stdout


@pytest.mark.thorough
def test_without_a_compiler_the_source_distribution_installs_and_says_that_forest_is_missing(
    dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [source] = dist.glob("*.tar.gz")
    monkeypatch.setenv("CC", "no-such-compiler")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*command, "-w", str(tmp_path), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
    script = "from servefit.backends.finding.capabilities import backend; print(backend('forest').probe())"
    command = [str(install(wheel, tmp_path / "installed") / "python"), "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "available=False" in done.stdout
    assert "apt install gcc" in done.stdout
