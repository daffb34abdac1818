"""The files that keep the invocations of endpoints."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import pytest

from servefit.aws.endpoints import invocations
from servefit.aws.endpoints.invocations import InvocationLogs, Variant

if TYPE_CHECKING:
    from pathlib import Path

FRAUD = Variant("fraud", "AllTraffic")


def add(logs: InvocationLogs, number: int, variant: Variant = FRAUD) -> None:
    logs.add(variant, at_s=1.7e9 + number, model_us=number, overhead_us=2 * number, status=200)


def test_what_was_kept_is_there_for_the_next_server(tmp_path: Path) -> None:
    for number in range(3):
        add(InvocationLogs(tmp_path), number)
    InvocationLogs(tmp_path).add(FRAUD, at_s=1.7e9 + 1.5, model_us=0.4, overhead_us=-3.0, status=503)
    found = InvocationLogs(tmp_path).read(FRAUD)
    assert found.at_s.tolist() == [1.7e9, 1.7e9 + 1, 1.7e9 + 1.5, 1.7e9 + 2]
    assert found.model_us.tolist() == [0, 1, 0, 2]
    assert found.overhead_us.tolist() == [0, 2, 0, 4]
    assert found.status.tolist() == [200, 200, 503, 200]


def test_variants_are_apart(tmp_path: Path) -> None:
    logs = InvocationLogs(tmp_path)
    add(logs, 1)
    add(logs, 2, Variant("fraud", "other"))
    assert [variant for variant, _ in logs.variants()] == [FRAUD, Variant("fraud", "other")]
    assert all(abs(time.time() - last_s) < 60 for _, last_s in logs.variants())
    assert logs.read(FRAUD).model_us.tolist() == [1]


def test_the_newest_are_kept_in_two_files_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocations, "MAX_BYTES", 18 * 10)
    logs = InvocationLogs(tmp_path)
    for number in range(35):
        add(logs, number)
    assert logs.read(FRAUD).model_us.tolist() == list(range(20, 35))
    assert sum(path.stat().st_size for path in (tmp_path / "fraud").iterdir()) == 18 * 15
    for number in range(5):  # now the file is full, and has become the older one
        add(logs, number)
    assert [variant for variant, _ in logs.variants()] == [FRAUD]


def test_half_a_record_is_left_out_and_does_not_spoil_what_follows(tmp_path: Path) -> None:
    logs = InvocationLogs(tmp_path)
    add(logs, 1)
    (path,) = (tmp_path / "fraud").iterdir()
    with path.open("ab") as file:
        file.write(b"torn")
    assert logs.read(FRAUD).model_us.tolist() == [1]
    add(logs, 2)
    assert logs.read(FRAUD).model_us.tolist() == [1, 2]


def test_threads_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocations, "MAX_BYTES", 18 * 500)
    logs = InvocationLogs(tmp_path)

    def add_some(first: int) -> None:
        for number in range(first, first + 200):
            add(logs, number)

    threads = [threading.Thread(target=add_some, args=(first,)) for first in (0, 200, 400, 600)]
    for thread in threads:
        thread.start()
    seen = 0
    while any(thread.is_alive() for thread in threads):
        now = len(logs.read(FRAUD).at_s)
        assert now >= seen
        seen = now
    assert logs.read(FRAUD).model_us.tolist() == list(range(800))


def test_where_nothing_can_be_kept_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "fraud").write_text("a file is in the way")
    with caplog.at_level(logging.WARNING):
        add(InvocationLogs(tmp_path), 1)
    assert "an invocation of fraud was not kept" in caplog.text


@pytest.mark.parametrize("name", ["..", "../other", "", ".", "a/b", "x" * 1000, "a\0b", "/etc"])
def test_nothing_is_read_elsewhere(tmp_path: Path, name: str) -> None:
    outside = InvocationLogs(tmp_path)
    add(outside, 1, Variant("other", "AllTraffic"))
    inside = InvocationLogs(tmp_path / "endpoints")
    assert not len(inside.read(Variant(name, "AllTraffic")).at_s)
    assert not len(inside.read(Variant("fraud", f"../../other/{name}")).at_s)
    assert not len(inside.read(Variant("../other", "AllTraffic")).at_s)
