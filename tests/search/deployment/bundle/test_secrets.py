"""The secrets of a bundle are in two files that only their owner reads, and all ways to start it refer to these."""

from __future__ import annotations

import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples
from tests.search.deployment.bundle.conftest import no_package_index
from tests.search.deployment.bundle.test_platforms import container_of, dockerfile, manifests, service_of

from servefit.backends.variables.secret import hidden_environment
from servefit.errors import SpecError
from servefit.search.deployment.bundle.secret_files import variables_file
from servefit.search.deployment.bundle.writing import write_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.deployment.bundle.conftest import Export

    from servefit.search.deployment.bundle.writing import Bundle
    from servefit.search.deployment.deployable import Deployable

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("asked_once")]

VALUES = {"API_TOKEN": "hunter2 'of' \"the\" \\first\\ $HOME `id` #", "MINE": "line one\nline two"}


@pytest.fixture(scope="module")
def secretive(deployable: Deployable) -> Deployable:
    """A deployable with two secrets, and a variable that is none."""
    environment = hidden_environment({"GREETING": "hello", **VALUES}, {"MINE"})
    configuration = replace(deployable.configuration, environment=tuple(environment.items()))
    return replace(deployable, configuration=configuration)


@pytest.fixture(scope="module")
def bundle(secretive: Deployable, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its bundle, written once: nobody changes it."""
    with no_package_index():
        return write_bundle(secretive, tmp_path_factory.mktemp("secretive") / "bundle")


def started(folder: Path, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The bundle, whose interpreter says what the secrets are instead of serving."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s|%s" "$API_TOKEN" "$MINE"\n')
    python.chmod(0o755)
    return subprocess.run(
        [folder / "run"],
        env={"PATH": "/usr/bin:/bin", "SERVEFIT_PYTHON": str(python), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_secrets_are_in_two_files_that_only_their_owner_reads(bundle: Bundle) -> None:
    secret = [b"hunter2", b"line one", *(b64encode(value.encode()) for value in VALUES.values())]
    holding = [
        path
        for path in bundle.folder.rglob("*")
        if path.is_file() and any(part in path.read_bytes() for part in secret)
    ]
    assert {path.name for path in holding} == {"secrets.env", "secret.yaml"}
    assert {path.stat().st_mode & 0o777 for path in holding} == {0o600}


def test_a_bundle_without_secrets_has_neither(plain: Bundle) -> None:
    assert not {"secrets.env", "secret.yaml"} & set(plain.files)


def test_run_hands_them_to_the_endpoint(bundle: Bundle, tmp_path: Path) -> None:
    ended = started(bundle.folder, tmp_path)
    assert ended.stdout == "|".join(VALUES.values()), ended.stderr


def test_the_environment_has_the_last_word(bundle: Bundle, tmp_path: Path) -> None:
    assert started(bundle.folder, tmp_path, API_TOKEN="another").stdout == f"another|{VALUES['MINE']}"


def test_without_the_file_the_environment_says_them_or_it_does_not_start(bundle: Bundle, tmp_path: Path) -> None:
    without = shutil.copytree(bundle.folder, tmp_path / "without", ignore=shutil.ignore_patterns("secrets.env"))
    assert started(without, tmp_path, API_TOKEN="a", MINE="b").stdout == "a|b"
    ended = started(without, tmp_path, API_TOKEN="a")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "run: MINE is not set: it is a secret, and belongs into the environment or secrets.env\n"


def test_the_unit_reads_them_from_a_file_that_only_root_may_read(bundle: Bundle) -> None:
    service = service_of(bundle)
    assert service["EnvironmentFile"] == ["/opt/servefit/fraud-v2/current/secrets.env"]
    assert '"GREETING=hello"' in service["Environment"]
    assert not [
        assignment for assignment in service["Environment"] if "API_TOKEN" in assignment or "MINE" in assignment
    ]


def test_the_image_holds_none_and_is_told_them_when_it_runs(bundle: Bundle) -> None:
    ignored = (bundle.folder / ".dockerignore").read_text().splitlines()
    assert {"secrets.env", "secret.yaml"} <= set(ignored)
    assert not [name for line in dockerfile(bundle)["COPY"] for name in line.split() if "secret" in name]


@pytest.mark.parametrize("name", ["kserve.yaml", "kubernetes.yaml"])
def test_pods_find_them_in_a_secret_of_the_cluster(bundle: Bundle, name: str) -> None:
    [secret] = manifests(bundle, "secret.yaml")
    assert (secret["kind"], secret["metadata"]["name"]) == ("Secret", "fraud-v2-env")
    assert {name: b64decode(value).decode() for name, value in secret["data"].items()} == VALUES
    variables: dict[str, Any] = {
        variable.pop("name"): variable for variable in container_of(manifests(bundle, name)[0])["env"]
    }
    for variable in VALUES:
        assert variables[variable] == {"valueFrom": {"secretKeyRef": {"name": "fraud-v2-env", "key": variable}}}
    assert variables["GREETING"] == {"value": "hello"}


def test_variables_beside_the_list_are_left_to_the_machine_that_starts_it(bundle: Bundle) -> None:
    assert "--env GREETING --env API_TOKEN --env MINE " in (bundle.folder / "Dockerfile").read_text().splitlines()[1]
    assert "names GREETING, which may do more than tune: set them here" in (bundle.folder / "README.md").read_text()
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "servefit.serving", bundle.folder / "endpoint.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "'GREETING' is not on the list" in ended.stderr
    assert "set GREETING in the environment that the endpoint is started in" in ended.stderr


def test_a_profile_of_a_shared_database_adds_no_line_to_the_unit(export: Export, deployable: Deployable) -> None:
    name = "small\n[Service]\nExecStartPre=+/bin/true"
    with pytest.raises(SpecError, match="is not a name of one line"):
        export(of=replace(deployable, profile=replace(deployable.profile, name=name)))


def test_a_secret_that_no_shell_could_set_is_refused(export: Export, deployable: Deployable) -> None:
    environment = tuple(hidden_environment({"my.token": "hunter2"}).items())
    with pytest.raises(SpecError, match=r"my\.token") as raised:
        export(of=replace(deployable, configuration=replace(deployable.configuration, environment=environment)))
    assert "hunter2" not in str(raised.value)


@settings(max_examples=examples(30, drawn=100))
@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20))
def test_whatever_a_value_is_a_shell_reads_it_back(value: str) -> None:
    script = f'{variables_file({"NAME": value})}\nprintf "%s." "$NAME"'
    ended = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    assert ended.stdout.decode() == f"{value}."
