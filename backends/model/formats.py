"""Tells what a model file is by its content; the name says nothing (``xgboost-model`` may be any of three formats).

Bytes are looked at and nothing is opened: no native library is loaded and nothing is unpickled. A file that passes may
still be corrupt, which is for ``inspection`` to find out.
"""

from __future__ import annotations

import bz2
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from servefit.backends.model.file_kinds import (
    TORCH_PICKLE,
    FileKind,
    is_skops,
    is_text,
    kind_of,
    kind_of_config,
    kind_of_message,
)
from servefit.backends.model.protobuf import LENGTH_DELIMITED, VARINT, top_level_fields
from servefit.backends.model.torch_archive import check_unpacked_size
from servefit.backends.model.types import Format
from servefit.errors import CorruptModel, ModelError, UnsupportedModel

_ZIP = b"PK\x03\x04"

HEAD_BYTES = 4096
"""Formats tell what they are in their first few hundred bytes. A page of memory is read in any case."""

_XGBOOST_JSON = re.compile(rb'\s*\{\s*"(learner"\s*:\s*\{|version"\s*:\s*\[)')
# UBJSON object keys are a length marker, the length, and the bytes of the key.
_XGBOOST_UBJSON = re.compile(rb"\{(?:[iU].|I..|l....|L.{8})(learner|version)[\[{]", re.DOTALL)
_LIGHTGBM_TEXT = re.compile(rb"tree\s+version=v\d")
_CATBOOST = b"CBM1"
_CATBOOST_JSON = re.compile(rb'\s*\{\s*"(ctr_data|features_info|oblivious_trees|model_info)"\s*:')
_XGBOOST_BOOSTERS = (b"gbtree", b"dart", b"gblinear")
_XGBOOST_PARAMETERS_BYTES = 136
"""The size of LearnerModelParamLegacy in xgboost, which a file in its binary format begins with."""

_PICKLE = re.compile(rb"\x80[\x02-\x05]|\(?c[a-z_][\w.]*\n|ccopy_reg\n")
_LZMA_MEMORY_BYTES = 2**27  # twice what xz takes at its highest level

# Fields of ModelProto in onnx.proto, with the wire types of what they hold.
_ONNX_FIELDS = {**dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), LENGTH_DELIMITED), 1: VARINT, 5: VARINT}.items()
_IR_VERSION_AND_GRAPH = {1: VARINT, 7: LENGTH_DELIMITED}.items()


def is_gzip_archive(path: Path) -> bool:
    """Return whether ``path`` is compressed by gzip, and not as joblib compresses a pickle. Raises CorruptModel."""
    head = _head(path)
    return head.startswith(b"\x1f\x8b") and recognise(head) is None


def model_format(path: Path) -> Format:
    """Return the format of the file at ``path``. Raises CorruptModel or UnsupportedModel, which name its kind."""
    head = _head(path)
    if not head:
        raise CorruptModel(path, "the file is empty")
    recognised = recognise(head)
    if recognised is not None:
        return recognised
    if is_skops(path, head):
        return Format.SKOPS
    fields = top_level_fields(path)
    if _IR_VERSION_AND_GRAPH <= fields.items() <= _ONNX_FIELDS:
        return Format.ONNX
    kind = _kind(path, head, fields)
    if kind is not None and kind.format is not None:
        if head.startswith(_ZIP):
            check_unpacked_size(path)
        return kind.format
    raise _foreign(path, head, kind)


def recognise(head: bytes) -> Format | None:
    """Return the format that the first bytes of a file tell, if they do. ONNX has no magic bytes: see
    ``model_format``."""
    if head.startswith(TORCH_PICKLE):
        return None
    if _XGBOOST_UBJSON.match(head):
        return Format.XGBOOST_UBJSON
    if _XGBOOST_JSON.match(head):
        return Format.XGBOOST_JSON
    if _LIGHTGBM_TEXT.match(head):
        return Format.LIGHTGBM_TEXT
    if head.startswith(_CATBOOST):
        return Format.CATBOOST_CBM
    if _CATBOOST_JSON.match(head):
        return Format.CATBOOST_JSON
    if legacy_xgboost_names(head) is not None:
        return Format.XGBOOST_BINARY
    if _PICKLE.match(head) or _PICKLE.match(_decompressed(head)):
        return Format.PICKLE
    return None


def legacy_xgboost_names(head: bytes) -> tuple[str, str] | None:
    """Return the names of the objective and the booster in XGBoost's retired binary format, or None if it is not that.

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
    """Return the beginning of what ``head`` holds compressed, in the ways joblib compresses a pickle; else empty."""
    decompressors = (
        (b"\x1f\x8b", zlib.decompressobj(wbits=31)),
        (b"\x78", zlib.decompressobj()),
        (b"BZh", bz2.BZ2Decompressor()),
        (b"\xfd7zXZ", lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)),
        (b"\x5d\x00\x00", lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)),
    )
    for magic, decompressor in decompressors:
        if head.startswith(magic):
            try:
                return decompressor.decompress(head, 64)
            except (zlib.error, OSError, EOFError, lzma.LZMAError):
                return b""
    return b""


def _kind(path: Path, head: bytes, fields: Mapping[int, int]) -> FileKind | None:
    """Return the kind of a file that does not tell by its first bytes alone that it is a model. Raises CorruptModel."""
    try:
        kind = kind_of(path, head) or kind_of_message(head, fields)
        return kind_of_config(path) if kind is None and head.lstrip()[:1] == b"{" else kind
    except OSError as error:
        raise CorruptModel(path, error.strerror or str(error)) from error


def _foreign(path: Path, head: bytes, kind: FileKind | None) -> ModelError:
    """Return the error for a file of none of the known formats, saying what it looks like."""
    if kind is not None and kind.to_serve is not None:
        return UnsupportedModel(f"{path.name} is {kind.what}", remedy=kind.to_serve)
    if kind is not None and head.startswith(b"PK") and not zipfile.is_zipfile(path):
        return CorruptModel(path, "it is a ZIP archive that is damaged or cut off", remedy="copy the whole file")
    if kind is not None:
        return CorruptModel(path, f"it is {kind.what}")
    if head.lstrip()[:1] in (b"{", b"["):
        return CorruptModel(path, "it is JSON, and not an XGBoost model")
    if is_text(head):
        return CorruptModel(path, "it is text, and not a LightGBM model")
    return CorruptModel(path, "it is in no model format that servefit knows")
