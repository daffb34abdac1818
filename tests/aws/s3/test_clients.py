"""Objects by the clients that people have: the AWS CLI, s3fs, and boto3 with the checksums of its newer versions."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.aws.s3.conftest import sent
from tests.aws.s3.test_checksums import CHECKSUMS, CONTENT, text_of
from tests.aws.sdk.environments import OBJECTS, sdk_python

if TYPE_CHECKING:
    from tests.aws.conftest import Server

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

PROGRAM = Path(__file__).parents[1] / "sdk" / "objects_run.py"
LARGE_BYTES = 100 * 2**20


@pytest.fixture(scope="module")
def found(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the clients found, run once for all tests."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "files" / "b").mkdir(parents=True)
    for name, content in (("a", b"1"), ("b/c d.csv", b"1,2\n"), ("b/empty", b"")):
        (folder / "files" / name).write_bytes(content)
    server.client("s3").create_bucket(Bucket="first")
    with (server.home / "api" / "s3" / "first" / "large").open("wb") as large:
        large.write(os.urandom(2**20))
        large.seek(LARGE_BYTES - 2**20)
        large.write(os.urandom(2**20))
    variables = {
        "AWS_ENDPOINT_URL": server.address,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "servefit",
        "AWS_SECRET_ACCESS_KEY": "servefit",
    }
    ended = subprocess.run(
        [sdk_python(OBJECTS), str(PROGRAM), str(folder)],
        env={**os.environ, **variables, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return {**json.loads(ended.stdout), "folder": folder}


def test_the_cli_syncs_what_is_new_and_nothing_else(found: dict[str, Any]) -> None:
    cli, names = found["cli"], ["a", "b/c d.csv", "b/empty"]
    assert sorted(line.partition(" to ")[2].strip() for line in cli["up"]) == [f"s3://first/files/{n}" for n in names]
    assert len(cli["down"]) == len(cli["between"]) == 3
    assert cli["up again"] == cli["down again"] == []
    for name in names:
        assert (found["folder"] / "back" / name).read_bytes() == (found["folder"] / "files" / name).read_bytes()


def test_the_cli_copies_100_megabytes_between_buckets(server: Server, found: dict[str, Any]) -> None:
    root = server.home / "api" / "s3"
    assert found["cli"]["listed"] == ["large", "m"]
    assert (root / "second" / "large").read_bytes() == (root / "first" / "large").read_bytes()
    copy = server.client("s3").head_object(Bucket="second", Key="m")
    assert (copy["Metadata"], copy["ContentType"]) == ({"k": "v"}, "text/own")
    assert sent(found["cli"]["url"])[2] == b"1"


def test_s3fs_has_files_and_folders(found: dict[str, Any]) -> None:
    keys = ["third/a/small", "third/a/written.csv", "third/b/copy", "third/empty"]
    assert (found["s3fs"]["found"], found["s3fs"]["glob"]) == (keys, keys[:3])
    assert (found["s3fs"]["size"], found["s3fs"]["part"]) == (7 * 2**20, "nte")
    assert found["s3fs"]["folder"] == [True, False, True]
    assert (found["s3fs"]["metadata"], found["s3fs"]["left"]) == ({"k": "v"}, False)


def test_checksums_are_those_that_boto3_computes(found: dict[str, Any]) -> None:
    told = dict(found["checksums"])
    assert told.pop("XXHASH3") == "NotImplemented"
    assert told == {name: text_of(CHECKSUMS[name](CONTENT)) for name in told}
