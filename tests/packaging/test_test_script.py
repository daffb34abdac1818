"""What scripts/test makes of its arguments, in a repository whose environments hold commands that write down how they
were called.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

# Stands for all that makes environments and installs packages; the finding of a Python is tested below.
ENVIRONMENT = """
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repository"
say() { echo "$*" >>calls; }
install_servefit() { say install ${NEWEST+the newest} "$@"; }
install_postgresql() { :; }
install_nginx() { :; }
install_haproxy() { :; }
install_openssh_server() { :; }
install_iproute2() { :; }
install_chromium() { :; }
install_npm() { :; }
install_zsh() { :; }
install_clang() { :; }
lowest_python() { echo 3.11; }
find_interpreter() { echo "/usr/bin/python$1"; }
"""
COMMANDS = ("coverage", "lint-imports", "mypy", "pytest", "python", "ruff")


@dataclass(frozen=True, kw_only=True)
class Run:
    status: int
    stderr: str
    calls: list[str]

    @property
    def pytest(self) -> list[str]:
        """How pytest was called, without the number of processes, which is that of the machine."""
        return [call for call in self.calls if call.split()[0] == "pytest"]


RunScript = Callable[..., Run]


@pytest.fixture
def run_script(tmp_path: Path) -> RunScript:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy2(ROOT / "scripts/test", scripts)
    (scripts / "environment.sh").write_text(ENVIRONMENT)
    for environment in (".venv", ".venv-lowest", ".venv-3.13"):
        folder = tmp_path / environment / "bin"
        folder.mkdir(parents=True)
        for command in COMMANDS:
            write_command(folder / command, tmp_path)
    calls = tmp_path / "calls"

    def run(*arguments: str, **environment: str) -> Run:
        calls.write_text("")
        command = [str(scripts / "test"), *arguments]
        environment = {**os.environ, **environment}
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return Run(status=ended.returncode, stderr=ended.stderr, calls=calls.read_text().splitlines())

    return run


def write_command(path: Path, repository: Path) -> None:
    """One that says its name and its arguments, and then fails where FAILING is its name."""
    path.write_text(f'#!/bin/sh\necho "{path.name}" "$@" >>{repository}/calls\ntest "$FAILING" != {path.name}\n')
    path.chmod(0o755)


@pytest.mark.parametrize(
    "arguments", [(), ("--unit",), ("--thorough", "tests/aws"), ("tests/profiler", "-k", "percentile")]
)
def test_the_suite_is_run_in_an_environment_of_pinned_versions(
    arguments: tuple[str, ...], run_script: RunScript
) -> None:
    run = run_script(*arguments)
    assert run.status == 0, run.stderr
    assert run.calls[0] == "install .[dev]"
    assert run.calls[-1] == " ".join(["python -m tests.suite", *arguments])


def test_the_newest_versions_are_tested_thoroughly(run_script: RunScript) -> None:
    run = run_script("--thorough", "--newest", "tests/serving")
    assert run.status == 0, run.stderr
    assert run.calls[0] == "install the newest .[dev]"
    assert run.calls[-1] == "python -m tests.suite --thorough tests/serving"


def test_a_second_run_in_the_same_clone_is_refused(run_script: RunScript, tmp_path: Path) -> None:
    (tmp_path / "test-results").mkdir()
    with (tmp_path / "test-results/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = run_script("tests/profiler")
    assert run.status == 2
    assert run.stderr == "scripts/test: another run works in this clone; wait for it, or use a clone of its own\n"
    assert run.calls == []


def test_the_lowest_versions_are_tested_with_the_lowest_python_in_an_environment_of_their_own(
    run_script: RunScript,
) -> None:
    run = run_script("--lowest")
    assert run.status == 0, run.stderr
    [installed, tested] = run.calls
    assert installed == "install .[test] .venv-lowest /usr/bin/python3.11 --resolution lowest-direct"
    assert tested.startswith("pytest --pure --numprocesses ")


@pytest.mark.parametrize("option", [("--python", "3.13"), ("--python=3.13",)])
def test_another_python_has_an_environment_of_its_own_and_takes_arguments_for_pytest(
    option: tuple[str, ...], run_script: RunScript
) -> None:
    run = run_script(*option, "tests/profiler", "-x")
    assert run.status == 0, run.stderr
    assert run.calls == ["install .[test] .venv-3.13 /usr/bin/python3.13", "pytest --pure tests/profiler -x"]


def test_coverage_is_reported_of_tests_that_assert_on_no_times(run_script: RunScript) -> None:
    run = run_script("--coverage", "tests/search")
    assert run.status == 0, run.stderr
    assert [call for call in run.calls if call.startswith("coverage")] == [
        "coverage erase",
        "coverage run -m pytest -m not timed and not thorough tests/search",
        "coverage combine --quiet",
        "coverage report",
        "coverage html --quiet",
    ]
    assert run.pytest == []


@pytest.mark.parametrize("arguments", [("--lowest",), ("--python", "3.13")])
def test_a_test_that_fails_is_the_status(arguments: tuple[str, ...], run_script: RunScript) -> None:
    assert run_script(*arguments, FAILING="pytest").status == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--python",), "--python takes a version, such as --python 3.13"),
        (("--python", "tests/profiler"), "--python takes a version such as 3.13, and not 'tests/profiler'"),
        (("--python", "3.10"), "servefit needs Python 3.11 or newer, so --python 3.10 cannot run it"),
        (("--lowest", "--python", "3.13"), "--lowest, --python and --coverage exclude each other"),
        (("--python", "3.13", "--coverage"), "--lowest, --python and --coverage exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_installed(
    arguments: tuple[str, ...], said: str, run_script: RunScript
) -> None:
    run = run_script(*arguments)
    assert run.status == 2
    assert run.stderr == f"scripts/test: {said}\n"
    assert run.calls == []


def sourced(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of shell after scripts/environment.sh."""
    program = f"set -euo pipefail; source scripts/environment.sh; {line}"
    return subprocess.run(
        ["bash", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_python_that_is_nowhere_is_named_with_how_to_get_it() -> None:
    ended = sourced("find_interpreter 3.99")
    assert ended.returncode == 1
    assert ended.stderr.startswith("no Python 3.99 found in the path, or among those of pyenv and uv; install it (")


def test_a_python_that_pyenv_installed_is_found_outside_of_the_path(tmp_path: Path) -> None:
    found = tmp_path / "versions/3.98.1/bin/python3.98"
    found.parent.mkdir(parents=True)
    found.write_text("#!/bin/sh\nexit 0\n")
    found.chmod(0o755)
    assert sourced("find_interpreter 3.98", PYENV_ROOT=str(tmp_path)).stdout == f"{found}\n"


def test_a_python_without_what_an_environment_takes_is_named_with_how_to_mend_it(tmp_path: Path) -> None:
    found = tmp_path / "python3.98"
    found.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n')
    found.chmod(0o755)
    ended = sourced("find_interpreter 3.98", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ended.returncode == 1
    assert f"{found} cannot make virtual environments, or has no headers; install them" in ended.stderr


def test_modules_are_compiled_beside_one_for_a_newer_python(tmp_path: Path) -> None:
    """PyTorch has one; with it the script had ended, without a word."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    modules = tmp_path / "lib"
    modules.mkdir()
    (modules / "plain.py").write_text("ONE = 1\n")
    (modules / "newer.py").write_text("def f[of a version to come]: pass\n")
    ended = sourced(f"compile_modules {tmp_path}; echo went on")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "went on\n", "")
    assert [compiled.name.split(".")[0] for compiled in (modules / "__pycache__").iterdir()] == ["plain"]


def test_uv_gets_packages_from_where_pip_was_told_to() -> None:
    """Of two that tell pip, its variables come first, then what is said of installing."""
    configuration = [
        ":env:.find-links='/one /two'",
        "global.constraint='/caps.txt'",
        "global.extra-index-url='\\nfirst:1\\nsecond:2'",
        "global.find-links='/three'",
        "global.index-url='index:1'",
        "global.timeout='10'",
        "install.index-url='index:2'",
    ]
    ended = sourced('unset "${!UV_@}"; uv_settings "$CONFIGURATION"', CONFIGURATION="\n".join(configuration))
    assert ended.stdout.splitlines() == [
        "UV_DEFAULT_INDEX=index:2",
        "UV_EXTRA_INDEX_URL=first:1 second:2",
        "UV_FIND_LINKS=/one,/two",
        "UV_CONSTRAINT=/caps.txt",
        "UV_INDEX_STRATEGY=unsafe-best-match",
    ]


def test_what_uv_was_told_itself_stays() -> None:
    environment = {"UV_DEFAULT_INDEX": "index:1", "UV_INDEX_STRATEGY": "first-index"}
    ended = sourced("uv_settings \"global.index-url='index:2'\"", **environment)
    assert ended.stdout == ""


def test_what_is_not_pure_is_there() -> None:
    """A folder that moved would be taken for pure."""
    from tests.conftest import NOT_PURE_PATHS

    assert [path for path in NOT_PURE_PATHS if not (ROOT / "tests" / path).exists()] == []
