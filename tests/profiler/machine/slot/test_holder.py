"""The description of the slot's holder, whatever its file holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.processes import MARK, own_mark
from servefit.profiler.machine.slot.holder import Holder, parse_holder, write_holder, write_nobody

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, job: str) -> bytes:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    write_holder(descriptor, job)
    os.close(descriptor)
    return path.read_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    holder = parse_holder(written(tmp_path / "record", "job fraud"))
    assert (holder.job, holder.pid, holder.host, holder.is_dead) == ("job fraud", os.getpid(), None, False)
    assert str(holder).startswith(f"job fraud (process {os.getpid()}, since 2")


def test_the_longest_names_of_escaped_characters_fit(tmp_path: Path) -> None:
    holder = parse_holder(written(tmp_path / "record", '"\\' * 500))
    assert holder.job == '"\\' * 50


def test_a_record_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "record"
    written(path, "a job with a very long name")
    content = written(path, "short")
    assert (parse_holder(content).job, len(content)) == ("short", 512)
    descriptor = os.open(path, os.O_RDWR)
    write_nobody(descriptor)
    os.close(descriptor)
    assert parse_holder(path.read_bytes()) == Holder()


def test_what_somebody_keeps_in_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(b"my notes")
    assert written(path, "job fraud") == b"my notes"
    assert parse_holder(b"my notes") == Holder()


def record(**fields: Any) -> bytes:
    usual = {"servefit": 1, "job": "job fraud", "pid": 4711, "mark": own_mark(), "since": 1.7e9, "host": "elsewhere"}
    return json.dumps(usual | fields).encode()


@pytest.mark.integration
def test_a_dead_holder_is_described_as_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    mark = own_mark().replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    assert str(parse_holder(record(mark=mark))) == "what job fraud has left (its process 4711 is dead)"


def test_a_holder_in_another_container_is_described_with_its_host() -> None:
    holder = parse_holder(record(mark="00000000-1-2-3"))
    assert "(process 4711 on elsewhere, since 2023-11-1" in str(holder)
    assert not holder.is_dead


@pytest.mark.parametrize(
    "content",
    [
        b"",
        record()[:40],
        record(pid="4711"),
        record(pid=-1),
        record(pid=10**400),
        record(since=1e300),
        record(since=float("nan")),
        record(since="now"),
        record(job=None),
        record(mark=["a"]),
        b'{"servefit": ' + b"[" * 499,
        b'{"servefit": ' + b"\xff" * 40,
    ],
    ids=lambda content: repr(content[:60]),
)
def test_of_a_record_that_is_damaged_nothing_is_known(content: bytes) -> None:
    assert parse_holder(content) == Holder()
    assert str(parse_holder(content)) == "a measurement of which nothing is known"


@given(
    st.one_of(
        st.binary(max_size=600),
        st.builds(
            record, job=st.text(), host=st.text(), mark=st.one_of(st.text(), st.from_regex(MARK, fullmatch=True))
        ),
    )
)
def test_whatever_is_in_the_file_is_told_in_one_plain_line(content: bytes) -> None:
    text = str(parse_holder(content))
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 300
