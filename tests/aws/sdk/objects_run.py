"""Objects by the AWS CLI, by s3fs and by boto3, in the environment of these. Prints what they found, as JSON.

    python objects_run.py FOLDER

FOLDER has a folder "files"; the bucket "first" has an object "large".
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import boto3
import s3fs  # type: ignore[import-not-found]
from awscli.clidriver import create_clidriver  # type: ignore[import-not-found]
from botocore.exceptions import ClientError


def aws(*arguments: str | Path) -> list[str]:
    """Run a command of the AWS CLI, and return the lines that it prints."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with redirect_stdout(printed):
        status = create_clidriver().main([str(each) for each in arguments])
    printed.seek(0)
    lines = printed.read().splitlines()
    assert status == 0, (arguments, lines)
    return lines


def cli(folder: Path) -> dict[str, Any]:
    sync = ("s3", "sync", "--no-progress")
    aws("s3", "mb", "s3://second")
    found: dict[str, Any] = {
        "up": aws(*sync, folder / "files", "s3://first/files"),
        "up again": aws(*sync, folder / "files", "s3://first/files"),
        "down": aws(*sync, "s3://first/files", folder / "back"),
        "down again": aws(*sync, "s3://first/files", folder / "back"),
    }
    aws(
        "s3", "cp", "--quiet", "--metadata", "k=v", "--content-type", "text/own", folder / "files" / "a", "s3://first/m"
    )
    aws("s3", "cp", "--quiet", "s3://first/m", "s3://second/m")
    aws("s3", "cp", "--quiet", "s3://first/large", "s3://second/large")
    found["listed"] = [line.split()[-1] for line in aws("s3", "ls", "--recursive", "s3://second")]
    found["between"] = aws(*sync, "--exclude", "large", "--exclude", "m", "s3://first", "s3://second")
    found["url"] = aws("s3", "presign", "s3://second/m")[0]
    return found


def files() -> dict[str, Any]:
    system = s3fs.S3FileSystem()
    system.mkdir("third")
    with system.open("third/a/written.csv", "wb", block_size=5 * 2**20) as file:
        for _ in range(7):
            file.write(b"x" * 2**20)
    system.pipe("third/a/small", b"content")
    system.touch("third/empty")
    system.copy("third/a/small", "third/b/copy")
    found = {
        "found": system.find("third"),
        "size": system.size("third/a/written.csv"),
        "part": system.cat_file("third/a/small", start=2, end=5).decode(),
        "folder": [system.isdir("third/a"), system.isdir("third/c"), system.isfile("third/b/copy")],
        "glob": system.glob("third/*/*"),
    }
    system.setxattr("third/a/small", k="v")
    found["metadata"] = system.metadata("third/a/small", refresh=True)
    system.rm("third", recursive=True)
    found["left"] = system.exists("third")
    return found


def checksums() -> dict[str, Any]:
    client, told = boto3.client("s3"), {}
    key = {"Bucket": "first", "Key": "checked", "Body": b"123456789"}
    for name in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512"):
        told[name] = client.put_object(**key, ChecksumAlgorithm=name)[f"Checksum{name}"]
    try:
        client.put_object(**key, ChecksumAlgorithm="XXHASH3")
    except ClientError as error:
        told["XXHASH3"] = error.response["Error"]["Code"]
    return told


if __name__ == "__main__":
    print(json.dumps({"cli": cli(Path(sys.argv[1])), "s3fs": files(), "checksums": checksums()}))
