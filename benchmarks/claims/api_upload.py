"""How fast ``servefit api`` takes an object of 1 GB, against the disk, and in how much memory.

    python -m benchmarks.claims.api_upload [--folder DIR] [--megabytes 1024] [--rounds 5]

Prints one JSON object. In turns the same bytes are uploaded by boto3, in parts as it chooses them, downloaded again,
uploaded to a server that throws them away, which tells how fast boto3 is by itself, and copied by a program that does
nothing else and that ends when the disk has them, all in ``DIR``. The memory is the most that the server had resident
(VmHWM) before and after. The object is compared with what was sent. It takes two minutes, and DIR needs four times the
size.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.api_server import BUCKET, ApiServer, api_server
from benchmarks.s3_sink import sink
from benchmarks.synthetic import machine
from servefit.profiler.machine.host import describe_host

_CHUNK_BYTES = 2**24


def most_resident_mb(pid: int) -> float:
    """Return the most memory that a process had resident, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def copy(source: Path, target: Path) -> None:
    """Copy a file, and wait until the disk has it."""
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            writer.write(chunk)
        os.fsync(writer.fileno())


def timed(what: Any, *arguments: Any) -> float:
    began = time.monotonic()
    what(*arguments)
    return time.monotonic() - began


def round_of(server: ApiServer, nowhere: Any, source: Path, folder: Path, number: int) -> dict[str, float]:
    """Return the seconds of each way, and of reading the object back."""
    s3 = server.client("s3")
    key, back, copied = f"object-{number}", folder / "back", folder / "copied"
    ways = {
        "copy": lambda: copy(source, copied),
        "upload": lambda: s3.upload_file(str(source), BUCKET, key),
        "upload to nowhere": lambda: nowhere.upload_file(str(source), BUCKET, key),
    }
    found = {name: timed(ways[name]) for name in list(ways)[:: 1 if number % 2 else -1]}
    found["download"] = timed(s3.download_file, BUCKET, key, str(back))
    if not same(source, back):
        raise SystemExit("what came back is not what was sent")
    s3.delete_object(Bucket=BUCKET, Key=key)
    back.unlink()
    copied.unlink()
    return found


def same(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            chunk = left.read(_CHUNK_BYTES)
            if chunk != right.read(_CHUNK_BYTES):
                return False
            if not chunk:
                return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=given.folder) as name,
        api_server(Path(name) / "home") as server,
        sink() as address,
    ):
        folder = Path(name)
        nowhere = replace(server, environment={"AWS_ENDPOINT_URL": address}).client("s3")
        source = folder / "source"
        with source.open("wb") as writer:
            for _ in range(given.megabytes):
                writer.write(os.urandom(2**20))
            os.fsync(writer.fileno())
        server.client("s3").create_bucket(Bucket=BUCKET)
        small = folder / "small"
        small.write_bytes(bytes(2**20))
        server.client("s3").upload_file(str(small), BUCKET, "small")
        before_mb = most_resident_mb(server.pid)
        rounds = []
        for number in range(given.rounds):
            rounds.append(round_of(server, nowhere, source, folder, number))
            print(number, rounds[-1], file=sys.stderr, flush=True)
        after_mb = most_resident_mb(server.pid)
    result = {
        "machine": machine(describe_host()),
        "megabytes": given.megabytes,
        "mb_per_s": {
            way: round(given.megabytes / statistics.median(each[way] for each in rounds)) for way in rounds[0]
        },
        "upload_over": {
            way: round(statistics.median(each["upload"] / each[way] for each in rounds), 2)
            for way in ("copy", "upload to nowhere")
        },
        "server_mb": {"before": round(before_mb), "after": round(after_mb)},
        "rounds_s": rounds,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
