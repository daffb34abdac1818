"""Safetensors files are whole, or called damaged."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servefit.backends.model.safetensors import check_whole
from servefit.errors import CorruptModel


def content(header: object, values: int = 16) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(values)


WHOLE = content({"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})


def test_a_whole_file_is_whole(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(WHOLE)
    check_whole(tmp_path / "m.safetensors")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, len(WHOLE) - 1))
def test_a_file_that_is_cut_off_anywhere_is_damaged(size: int, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(WHOLE[:size])
    with pytest.raises(CorruptModel):
        check_whole(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    "header", [[], {"w": 3}, {"w": {"data_offsets": [0]}}, {"w": {"data_offsets": "ab"}}, {"w": {"data_offsets": None}}]
)
def test_a_header_of_another_kind_is_damaged(header: object, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(content(header))
    with pytest.raises(CorruptModel, match="a damaged header"):
        check_whole(tmp_path / "m.safetensors")


def test_a_header_longer_than_the_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", 2**62) + b'{"')
    with pytest.raises(CorruptModel, match="header is to have 4,611,686,018,427,387,904 bytes, and the file has 10"):
        check_whole(tmp_path / "m.safetensors")
