"""Tells what a model file is by its content; the name says nothing (``xgboost-model`` may be any of three formats).

Bytes are looked at and nothing is opened: no native library is loaded and nothing is unpickled. A file that passes may
still be corrupt, which is for ``inspection`` to find out.
"""

from __future__ import annotations

import bz2
import lzma
import os
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from servefit.backends.model.types import Format
from servefit.errors import CorruptModel, ModelError, UnsupportedModel

HEAD_BYTES = 4096

_XGBOOST_JSON = re.compile(rb'\s*\{\s*"(learner|version)"\s*:')
# UBJSON object keys are a length marker, the length, and the bytes of the key.
_XGBOOST_UBJSON = re.compile(rb"\{(?:[iU].|I..|l....|L.{8})(learner|version)[\[{]", re.DOTALL)
_LIGHTGBM_TEXT = re.compile(rb"tree\s+version=v\d")
_XGBOOST_BOOSTERS = (b"gbtree", b"dart", b"gblinear")
_XGBOOST_PARAMETERS_BYTES = 136
_PICKLE = re.compile(rb"\x80[\x02-\x05]|\(?c[a-z_][\w.]*\n|ccopy_reg\n")

_OTHER_MODELS = (
    (b"CBM1", "a CatBoost model"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as a Keras model"),
    (b"<PMML", "a PMML model"),
    (b"bs64", "an XGBoost model in the base64 format of its command line, retired in 2020"),
)
_FOREIGN = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PAR1", "a Parquet file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x7fELF", "a program or a shared library"),
    (b"SQLite format 3", "an SQLite database"),
    (b"<?xml", "an XML document"),
    (b"<", "an HTML or XML document"),
)


def is_gzip_archive(path: Path) -> bool:
    """Whether ``path`` is compressed by gzip, and not as joblib compresses a pickle."""
    head = _head(path)
    return head.startswith(b"\x1f\x8b") and recognise(head) is None


def model_format(path: Path) -> Format:
    """The format of the file at ``path``. Raises CorruptModel or UnsupportedModel, which say what it is instead."""
    head = _head(path)
    if not head:
        raise CorruptModel(path, "the file is empty")
    known = recognise(head)
    if known is None and _is_onnx(path):
        known = Format.ONNX
    if known is None:
        raise _foreign(path, head)
    return known


def recognise(head: bytes) -> Format | None:
    """The format that the first bytes of a file tell, if they do. ONNX has no magic bytes: see ``model_format``."""
    if _XGBOOST_UBJSON.match(head):
        return Format.XGBOOST_UBJSON
    if _XGBOOST_JSON.match(head):
        return Format.XGBOOST_JSON
    if _LIGHTGBM_TEXT.match(head):
        return Format.LIGHTGBM_TEXT
    if legacy_xgboost_names(head) is not None:
        return Format.XGBOOST_BINARY
    if _PICKLE.match(head) or _PICKLE.match(_decompressed(head)):
        return Format.PICKLE
    return None


def legacy_xgboost_names(head: bytes) -> tuple[str, str] | None:
    """The names of the objective and the booster in XGBoost's retired binary format, or None if it is not that.

    The file is an optional "binf", 136 bytes of parameters, then the two names, each after its length as uint64.
    """
    offset = _XGBOOST_PARAMETERS_BYTES + (4 if head.startswith(b"binf") else 0)
    names = []
    for _ in range(2):
        if len(head) < offset + 8:
            return None
        (length,) = struct.unpack_from("<Q", head, offset)
        name = head[offset + 8 : offset + 8 + length] if 0 < length < 64 else b""
        if not re.fullmatch(rb"[a-z0-9_:]+", name):
            return None
        names.append(name)
        offset += 8 + length
    return (names[0].decode(), names[1].decode()) if names[1] in _XGBOOST_BOOSTERS else None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError as error:
        raise CorruptModel(path, error.strerror or str(error)) from error


def _decompressed(head: bytes) -> bytes:
    """The beginning of what ``head`` holds compressed, in the ways joblib compresses a pickle; else empty."""
    decompressors = (
        (b"\x1f\x8b", zlib.decompressobj(wbits=31)),
        (b"\x78", zlib.decompressobj()),
        (b"BZh", bz2.BZ2Decompressor()),
        (b"\xfd7zXZ", lzma.LZMADecompressor()),
        (b"\x5d\x00\x00", lzma.LZMADecompressor()),
    )
    for magic, decompressor in decompressors:
        if head.startswith(magic):
            try:
                return decompressor.decompress(head, 64)
            except (zlib.error, OSError, EOFError, lzma.LZMAError):
                return b""
    return b""


def _is_onnx(path: Path) -> bool:
    """Whether the file reads as a protobuf message with the fields of ONNX's ModelProto, a graph among them.

    Only the tags of the top level are read. A graph that runs past the end of the file counts: that is a truncated
    model, and not a foreign file.
    """
    known_fields = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}
    ir_version, graph = 1, 7
    varint, length_delimited = 0, 2
    seen = set()
    size = path.stat().st_size
    with path.open("rb") as stream:
        while stream.tell() < size:
            tag = _read_varint(stream)
            field, wire_type = tag >> 3, tag & 7
            if field not in known_fields or wire_type not in (varint, length_delimited):
                return False
            seen.add(field)
            value = _read_varint(stream)
            if wire_type == length_delimited:
                stream.seek(value, os.SEEK_CUR)
    return {ir_version, graph} <= seen


def _read_varint(stream: BinaryIO) -> int:
    """The next variable-length integer; what is there of it where the file ends or ten bytes have passed."""
    value = 0
    for index in range(10):
        byte = stream.read(1)
        if not byte:
            break
        value |= (byte[0] & 127) << (7 * index)
        if byte[0] < 128:
            break
    return min(value, 2**62)


def _foreign(path: Path, head: bytes) -> ModelError:
    """The error for a file of none of the known formats, saying what it looks like."""
    for magic, what in _OTHER_MODELS:
        if head.lstrip().startswith(magic):
            return UnsupportedModel(f"{path.name} is {what}", remedy="export it to ONNX")
    for magic, what in _FOREIGN:
        if head.lstrip().startswith(magic):
            return CorruptModel(path, f"it is {what}")
    if head.lstrip()[:1] in (b"{", b"["):
        return CorruptModel(path, "it is JSON, and not an XGBoost model")
    if _is_text(head):
        return CorruptModel(path, "it is text, and not a LightGBM model")
    return CorruptModel(path, "it is in no model format that servefit knows")


def _is_text(head: bytes) -> bool:
    try:
        # A character may be cut in two at the end of the head.
        return "\0" not in head[: HEAD_BYTES - 4].decode()
    except UnicodeDecodeError:
        return False
