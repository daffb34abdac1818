"""The versions of Python that a bundle runs on, by the files of an index."""

from __future__ import annotations

import pickle
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from servefit.search.deployment.bundle.pythons import Pythons, pythons
from servefit.search.deployment.bundle.requirements import python_version, requirements
from servefit.search.deployment.bundle.starting import run_script

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.types import Artifact
    from servefit.search.deployment.deployable import Deployable

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

OWN = sys.version_info.minor
OTHERS = (OWN + 1, OWN + 2)
PLATFORM = f"manylinux_2_17_{platform.machine()}"
Judge = Callable[..., Pythons]


@pytest.fixture
def judge(deployable: Deployable) -> Judge:
    """What the bundle of a model runs on, where the index has wheels of each pin for this Python and ``OTHERS``, and
    ``changes`` of some, by name."""

    def judged(changes: dict[str, list[str]] | None = None, *, of: Artifact | None = None) -> Pythons:
        artifact = of or deployable.artifact
        pins = requirements(artifact)
        wheels = {}
        for pin in pins:
            name, version = pin.replace("-", "_").split("==")
            usual = [f"{name}-{version}-cp3{minor}-cp3{minor}-{PLATFORM}.whl" for minor in (OWN, *OTHERS)]
            wheels[pin] = (changes or {}).get(name, usual)
        return pythons(artifact, pins, wheels, None)

    return judged


def version_of(pin: str, artifact: Artifact) -> str:
    return dict(each.split("==") for each in requirements(artifact))[pin]


def test_a_bundle_runs_on_each_python_for_which_everything_has_a_wheel_and_says_what_the_next_one_lacks(
    judge: Judge,
) -> None:
    found = judge()
    assert found.versions == tuple(f"3.{minor}" for minor in (OWN, *OTHERS))
    assert found.text == f"3.{OWN}, 3.{OWN + 1} or 3.{OWN + 2}"
    assert f"has no wheel for Python 3.{OWN + 3} on this platform" in found.reason


def test_wheels_for_any_python_or_for_all_above_one_count(judge: Judge, deployable: Deployable) -> None:
    artifact = deployable.artifact
    msgspec = f"msgspec-{version_of('msgspec', artifact)}-cp3{OWN}-abi3-{PLATFORM}.whl"
    client = f"prometheus_client-{version_of('prometheus-client', artifact)}-py3-none-any.whl"
    assert len(judge({"msgspec": [msgspec], "prometheus_client": [client]}).versions) == 3


@pytest.mark.parametrize(
    "tags", [f"cp3{OWN + 1}-cp3{OWN + 1}-macosx_11_0_arm64", f"cp3{OWN}-cp3{OWN}-{PLATFORM}", None]
)
def test_a_python_for_which_one_package_has_no_wheel_here_is_left_out(
    judge: Judge, deployable: Deployable, tags: str | None
) -> None:
    version = version_of("msgspec", deployable.artifact)
    file = f"msgspec-{version}.tar.gz" if tags is None else f"msgspec-{version}-{tags}.whl"
    found = judge({"msgspec": [file]})
    assert found.versions == (python_version(),)
    assert found.reason == f"msgspec=={version} has no wheel for Python 3.{OWN + 1} on this platform"


def test_what_another_python_needs_besides_is_named(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    import servefit.search.deployment.bundle.pythons as module

    def needs(*_: object) -> list[tuple[str, str, str]]:
        return [("msgspec", "backport", ">=1")]

    monkeypatch.setattr(module, "depends_on", needs)
    found = judge()
    assert (found.versions, found.reason) == ((python_version(),), f"msgspec needs backport>=1 on Python 3.{OWN + 1}")


def test_without_an_index_it_is_the_exporting_one_alone(deployable: Deployable) -> None:
    pins = requirements(deployable.artifact)
    found = pythons(deployable.artifact, pins, {}, "pip is told to ask no package index")
    assert (found.versions, found.reason) == ((python_version(),), "pip is told to ask no package index")


def test_a_pickle_with_bytecode_and_a_backend_that_nobody_knows_are_bound_to_the_exporting_python(
    judge: Judge, deployable: Deployable, tmp_path: Path
) -> None:
    (tmp_path / "model.pkl").write_bytes(b"ccloudpickle.cloudpickle\n_make_function\n.")
    bound = replace(deployable.artifact, backend="sklearn", folder=tmp_path)
    assert (
        judge(of=bound).reason == f"its pickle may hold bytecode of Python {python_version()}, which cloudpickle writes"
    )
    (tmp_path / "model.pkl").write_bytes(pickle.dumps([1]))
    assert len(judge(of=bound).versions) == 3
    script = replace(deployable.artifact, backend="torch", facts={"format": "onnx"})
    assert "torch keeps of a model was tried with Python" in judge(of=script).reason


def test_run_takes_the_exporting_python_first_and_then_any_of_the_others(tmp_path: Path) -> None:
    own = python_version()
    (tmp_path / "run").write_text(run_script((), Pythons(versions=("3.1", own, "3.99"), reason="")))
    (tmp_path / "SHA256SUMS").write_text("")
    script = (tmp_path / "run").read_text()
    assert f"for candidate in python{own} python3.1 python3.99 python3 python; do" in script
    assert f"this needs Python 3.1, {own} or 3.99, and there is none" in script
    other = tmp_path / "bin"
    other.mkdir()
    # A Python that says that it is another one
    (other / "python3").write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 99, 0); exec(sys.argv[1])" "$2"\n'
    )
    (other / "python3").chmod(0o755)
    asked = script[script.index("python_here() {") : script.index("is_installed() {")] + "\npython_here\n"
    for version, status in (("3.99", 0), ("3.98", 1)):
        text = asked.replace('"3.99"', "").replace("3.99", version)
        ended = subprocess.run(
            ["/bin/sh", "-c", f"fail() {{ exit 1; }}\n{text}"],
            env={"PATH": str(other)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stdout.strip()) == (status, "" if status else "python3"), ended.stderr
