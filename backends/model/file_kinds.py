"""What a file is that servefit takes for neither a model nor a payload, told by its content, and what to do with it."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from servefit.backends.model.protobuf import LENGTH_DELIMITED, VARINT

TORCH_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch.save began before it wrote ZIP archives: a magic number, pickled."""

_TO_CSV = "read it with pandas.{reader} and save it with to_csv(..., index=False)"
_TORCH = "export the module to ONNX with torch.onnx.export"
_KERAS = 'load it with Keras 3 and export it to ONNX: model.export("model.onnx", format="onnx")'
_MAX_CONFIG_BYTES = 2**20
_ORIGIN = "export the model that it was made of to ONNX"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """``what`` is a noun. ``to_serve`` says how to get a model out of it that servefit takes, ``to_send`` how to get
    rows; None where it holds no such thing."""

    what: str
    to_serve: str | None = None
    to_send: str | None = None


def kind_of(path: Path, head: bytes) -> FileKind | None:
    """What the file at ``path`` that begins with ``head`` is, where its content tells. Raises OSError."""
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(_names_in_zip(path))
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for pattern, kind in _BY_BEGINNING if pattern.match(head) or pattern.match(text)), None)


def kind_of_message(fields: Mapping[int, int]) -> FileKind | None:
    """What a protobuf message is whose top level has these fields, with the wire type of each."""
    if fields == {1: VARINT, 2: LENGTH_DELIMITED}:
        return _SAVED_MODEL
    # Core ML's Model has one field above 200, named after the kind of model that it holds.
    if fields.items() >= {1: VARINT, 2: LENGTH_DELIMITED}.items() and any(200 <= field <= 3000 for field in fields):
        return _CORE_ML
    return None


def kind_of_folder(folder: Path, files: Sequence[Path]) -> FileKind | None:
    """What a folder of these files, at any depth, is where they tell. Raises OSError."""
    names = {file.name for file in files}
    if "saved_model.pb" in names:
        return _SAVED_MODEL
    if "com.apple.CoreML" in {part for file in files for part in file.relative_to(folder).parts}:
        return _CORE_ML
    if "model_index.json" in names:
        return FileKind(what="a pipeline of Hugging Face's Diffusers", to_serve=_ORIGIN)
    for file in files:
        if file.name == "config.json" and (name := _name_in_config(file)) is not None:
            return FileKind(
                what=f"a Hugging Face model ({name})",
                to_serve="export it to ONNX: optimum-cli export onnx --model FOLDER OUTPUT",
            )
    return None


def _name_in_config(file: Path) -> str | None:
    """What a config.json of Hugging Face's Transformers calls its model; None where it is another file of that name."""
    with file.open("rb") as stream:
        content = stream.read(_MAX_CONFIG_BYTES)
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    architectures = config.get("architectures")
    name = architectures[0] if isinstance(architectures, list) and architectures else config.get("model_type")
    return name[:60] if isinstance(name, str) else None


def is_text(head: bytes) -> bool:
    """Whether a file that begins so is text."""
    try:
        # A character may be cut in two at the end.
        return not _CONTROL.search(head[: max(len(head) - 3, 1)].decode())
    except UnicodeDecodeError:
        return False


def _kind_of_zip(names: frozenset[str]) -> FileKind:
    for pattern, kind in _BY_NAME_IN_ZIP:
        if any(pattern.fullmatch(name) for name in names):
            return kind
    return FileKind(what="a ZIP archive")


def _names_in_zip(path: Path) -> frozenset[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return frozenset()


def _literally(*beginnings: bytes) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(re.escape, beginnings)))


_SAVED_MODEL = FileKind(
    what="a TensorFlow SavedModel",
    to_serve="convert it to ONNX: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
)
_CORE_ML = FileKind(what="a Core ML model", to_serve=_ORIGIN)

_CONTROL = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f]")

_BY_BEGINNING: tuple[tuple[re.Pattern[bytes], FileKind], ...] = (
    (
        _literally(b"CBM1"),
        FileKind(what="a CatBoost model", to_serve='export it to ONNX: save_model("model.onnx", format="onnx")'),
    ),
    (
        _literally(TORCH_PICKLE),
        FileKind(what="a file of PyTorch's torch.save", to_serve=_TORCH),
    ),
    (
        re.compile(rb'.{6}\0\0\{\s*"', re.DOTALL),
        FileKind(
            what="a safetensors file, weights without the network that they belong to",
            to_serve="export the whole model to ONNX; for one of Hugging Face: "
            "optimum-cli export onnx --model FOLDER OUTPUT",
        ),
    ),
    (_literally(b"GGUF"), FileKind(what="a GGUF file, weights for llama.cpp", to_serve=_ORIGIN)),
    (
        re.compile(rb".{4}TFL3", re.DOTALL),
        FileKind(
            what="a TensorFlow Lite model",
            to_serve="convert it to ONNX: python -m tf2onnx.convert --tflite FILE --output model.onnx",
        ),
    ),
    (
        re.compile(rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<PMML", re.DOTALL),
        FileKind(what="a PMML model", to_serve=f"{_ORIGIN}, or save it in its library's own format"),
    ),
    (
        re.compile(rb"(<\?xml[^>]*>\s*)?<net\s[^>]*version=", re.DOTALL),
        FileKind(what="a model in OpenVINO's intermediate representation", to_serve=_ORIGIN),
    ),
    (
        _literally(b"bs64"),
        FileKind(
            what="an XGBoost model in the base64 format of its command line, retired in 2020",
            to_serve="open it with XGBoost 1.2 or older and save it as JSON",
        ),
    ),
    (
        re.compile(rb'\{\s*"name"\s*:\s*"tree"\s*,\s*"version"\s*:\s*"v\d'),
        FileKind(what="the JSON of LightGBM's dump_model", to_serve="save the model with save_model"),
    ),
    (
        re.compile(rb'booster\[0\]:|\[\s*\{\s*"nodeid"\s*:'),
        FileKind(what="what XGBoost's dump_model writes for people to read", to_serve="save the model with save_model"),
    ),
    (_literally(b"\x89HDF\r\n\x1a\n"), FileKind(what="an HDF5 file, such as a Keras model", to_serve=_KERAS)),
    (_literally(b"PAR1"), FileKind(what="a Parquet file", to_send=_TO_CSV.format(reader="read_parquet"))),
    (
        _literally(b"ARROW1", b"FEA1"),
        FileKind(what="an Arrow (Feather) file", to_send=_TO_CSV.format(reader="read_feather")),
    ),
    (
        re.compile(rb"\xff\xff\xff\xff.{3}\0[\x10\x14]\0\0\0", re.DOTALL),
        FileKind(
            what="an Arrow stream", to_send="read it with pyarrow.ipc.open_stream, and save the table with pyarrow.csv"
        ),
    ),
    (_literally(b"ORC"), FileKind(what="an ORC file", to_send=_TO_CSV.format(reader="read_orc"))),
    (_literally(b"Obj\x01"), FileKind(what="an Avro file", to_send="save its rows as CSV")),
    (
        _literally(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        FileKind(what="a file of old Microsoft Office, such as Excel's .xls", to_send="save the sheet as CSV"),
    ),
    (_literally(b"\x93NUMPY"), FileKind(what="a NumPy array")),
    (_literally(b"\x89PNG"), FileKind(what="a PNG image")),
    (_literally(b"\xff\xd8\xff"), FileKind(what="a JPEG image")),
    (_literally(b"GIF8"), FileKind(what="a GIF image")),
    (_literally(b"%PDF"), FileKind(what="a PDF document")),
    (_literally(b"\x7fELF"), FileKind(what="a program or a shared library")),
    (_literally(b"SQLite format 3"), FileKind(what="an SQLite database")),
    (_literally(b"\x1f\x8b"), FileKind(what="a gzip file")),
    (_literally(b"<?xml"), FileKind(what="an XML document")),
    (re.compile(rb"<[!a-zA-Z]"), FileKind(what="an HTML or XML document")),
)

_BY_NAME_IN_ZIP: tuple[tuple[re.Pattern[str], FileKind], ...] = (
    (
        re.compile(r"(.+/)?(serialized_exported_program\.json|models/[^/]+\.json)"),
        FileKind(what="a program of PyTorch's torch.export (.pt2)", to_serve=_TORCH),
    ),
    (re.compile(r"[^/]+/code/.+"), FileKind(what="a TorchScript module of PyTorch", to_serve=_TORCH)),
    (re.compile(r"[^/]+/data\.pkl"), FileKind(what="a file of PyTorch's torch.save", to_serve=_TORCH)),
    (re.compile(r"model\.weights\.h5"), FileKind(what="a Keras model", to_serve=_KERAS)),
    (re.compile(r"xl/workbook\.(xml|bin)"), FileKind(what="an Excel workbook", to_send="save the sheet as CSV")),
    (
        re.compile(r"content\.xml"),
        FileKind(what="a document of OpenOffice, such as a spreadsheet", to_send="save the sheet as CSV"),
    ),
    (re.compile(r".+\.npy"), FileKind(what="an NPZ file of NumPy arrays")),
)
