"""The kinds of files that servefit takes for neither a model nor a payload, told by their content, and what to do with
them."""

from __future__ import annotations

import codecs
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from servefit.backends.model.openvino_files import GRAPH
from servefit.backends.model.protobuf import LENGTH_DELIMITED, VARINT
from servefit.backends.model.safetensors import check_header
from servefit.backends.model.torch_archive import holds_module
from servefit.backends.model.transformers_folder import ARCHITECTURES, CONFIG, ROOT, architecture_of
from servefit.backends.model.types import Format

TORCH_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of torch.save before it wrote ZIP archives: a magic number, pickled."""

_CONTROL = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f]")

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Byte order marks, and encodings that are read with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """``what`` is a noun. ``to_serve`` says how to get a model out of it that servefit takes, ``to_send`` how to get
    rows; None where it holds no such thing. ``format`` is that of an archive which is a model."""

    what: str
    to_serve: str | None = None
    to_send: str | None = None
    format: Format | None = None


def kind_of(path: Path, head: bytes) -> FileKind | None:
    """Return the kind of the file at ``path``, whose content begins with ``head``; None if it is unknown. Raises
    OSError, and CorruptModel for a file of weights that ends in its header."""
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    # A table may begin with a column called PAR1.
    kinds, begin = (_TEXT, head.removeprefix(codecs.BOM_UTF8).lstrip()) if is_text(head) else (_BINARY, head)
    kind_of_content = next((kind for pattern, kind in kinds if re.match(pattern, begin, re.DOTALL)), None)
    if kind_of_content is _SAFETENSORS:
        check_header(path, head)
    return kind_of_content


def kind_of_config(path: Path) -> FileKind | None:
    """Return the kind of a model of Hugging Face's Transformers, of which the JSON file at ``path`` is the config.json;
    None for other JSON files. Raises OSError."""
    name = architecture_of(path)
    if name is None:
        return None
    what = f"a Hugging Face model ({name})"
    if name in ARCHITECTURES:
        return FileKind(what=what, format=Format.HUGGINGFACE)
    if _ENCODER_DECODERS.match(name):
        return FileKind(
            what=f"{what}, an encoder and a decoder, which generate text", to_serve=_SCRIPT.format("generate")
        )
    if _GENERATES.search(name):
        return FileKind(what=f"{what}, which generates text", to_serve=_GENERATING)
    task = next((task for head, task in _TASKS.items() if name.endswith(head)), "feature-extraction")
    return FileKind(what=what, to_serve=f"{_OPTIMUM} --task {task} OUTPUT")


def kind_of_message(head: bytes, fields: Mapping[int, int]) -> FileKind | None:
    """Return the kind of a protobuf message that begins so, and whose top level has these fields, with the wire type of
    each."""
    version_and_content = {1: VARINT, 2: LENGTH_DELIMITED}
    if fields == version_and_content and head.startswith(b"\x08\x01\x12"):  # version 1, and then the graphs
        return _SAVED_MODEL
    # Core ML's Model has one field from 200 on, named after the kind of model that it holds.
    if fields.items() > version_and_content.items() and max(fields) >= 200:
        return _CORE_ML
    return None


def kind_of_folder(folder: Path, files: Sequence[Path]) -> FileKind | None:
    """Return the kind of a folder with these files, at any depth; None if it is unknown. Raises OSError."""
    inside = [file.relative_to(folder) for file in files]
    names = {part for file in inside for part in file.parts}
    for name, kind in _BY_NAME_IN_FOLDER:
        if name in names or Path(name) in inside:
            return kind
    if {"config.cfg", "meta.json", "vocab"} <= names:
        return _SPACY
    for file in files:
        if file.name == CONFIG and (kind_of_model := kind_of_config(file)) is not None:
            return kind_of_model
    return None


def is_text(head: bytes) -> bool:
    """Return whether a file that begins so is text."""
    try:
        # The last character may be cut in two.
        return not _CONTROL.search(codecs.getincrementaldecoder("utf-8")().decode(head))
    except UnicodeDecodeError:
        return False


def encoding_of(head: bytes) -> str | None:
    """Return the encoding of a file that begins so and is text, though not in UTF-8, by iconv's name; None where it is
    no such text. "ISO-8859-1" stands for all encodings of one byte a character that agree with ASCII."""
    # The mark of UTF-32 begins with that of UTF-16.
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    # Of characters of ASCII every other byte is zero.
    for encoding, zeros, others in (("UTF-16LE", head[1::2], head[::2]), ("UTF-16BE", head[::2], head[1::2])):
        if zeros.count(0) > len(zeros) / 2 and not others.count(0):
            return encoding
    return None if _CONTROL.search(head.decode("latin-1")) else "ISO-8859-1"


def is_skops(path: Path, head: bytes) -> bool:
    """Return whether the file is one that skops wrote: a ZIP archive with a schema."""
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "schema.json" in archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return False


def _kind_of_zip(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        names = []
    for pattern, kind in _BY_NAME_IN_ZIP:
        if any(re.fullmatch(pattern, name) for name in names):
            return _MODULE if kind is _STATE_DICT and holds_module(path) else kind
    return FileKind(what="a ZIP archive")


_TORCH = 'in Python, where its class is: torch.onnx.export(module, (example_input,), "model.onnx")'
_KERAS = (
    "export it to ONNX: pip install tf2onnx; in Python, with Keras 3: model = keras.models.load_model(FILE); "
    'model(example_input); model.export("model.onnx", format="onnx")'
)
"""A model that was loaded is not exported before it has been called."""

_OPTIMUM = "export it to ONNX: pip install 'optimum-onnx[onnxruntime]'; optimum-cli export onnx --model FOLDER"
_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForImageClassification": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForCTC": "automatic-speech-recognition",
}
"""optimum-cli does not infer the task of a folder."""

_GENERATES = re.compile("ForCausalLM|LMHeadModel|ForConditionalGeneration")
_GENERATING = "serve it with a server for language models, such as vLLM: vllm serve FOLDER"
_ENCODER_DECODERS = re.compile(
    "((M|UM|Long)?T5|SwitchTransformers|(M|PL)?Bart|M2M100|NllbMoe|(BigBird)?Pegasus(X)?|Blenderbot(Small)?|FSMT|LED|Mvp"
    "|(XLM)?ProphetNet)ForConditionalGeneration|MarianMTModel|(Speech|Vision)?EncoderDecoderModel|(m|um)?t5$|m?bart$"
    "|marian$|pegasus$"
)
"""vLLM is for models that are a decoder alone."""

_SCRIPT = "serve a script that calls {}: code/inference.py with model_fn and predict_fn beside it, and --trust-code"
_ORIGIN = "export the model that it was made of to ONNX"
_PANDAS = "read it with pandas.{} and save it with to_csv(..., index=False)"
_SHEET = "save the sheet as CSV"
_XML = rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?"

_SAVED_MODEL = FileKind(
    what="a TensorFlow SavedModel",
    to_serve="convert it to ONNX: pip install tensorflow tf2onnx; python -m tf2onnx.convert --saved-model FOLDER "
    "--output model.onnx",
)
_CORE_ML = FileKind(what="a Core ML model", to_serve=_ORIGIN)
_STATE_DICT = FileKind(what="a state_dict of PyTorch's torch.save: weights, without their network", to_serve=_TORCH)
_MODULE = FileKind(what="a module in a pickle of PyTorch's torch.save, without the code of its class", to_serve=_TORCH)
_SAFETENSORS = FileKind(
    what="a safetensors file: weights, without the network that they belong to",
    to_serve="name the folder, if it has a config.json of Hugging Face; else export the whole model to ONNX, " + _TORCH,
)

_BINARY: tuple[tuple[bytes, FileKind], ...] = (
    (rb".{4}ORTM", FileKind(what="a model in ONNX Runtime's own format (.ort)", format=Format.ONNX_ORT)),
    (re.escape(TORCH_PICKLE), FileKind(what="a file of PyTorch's torch.save", to_serve=_TORCH)),
    (rb'.{6}\0\0\{\s*"', _SAFETENSORS),
    (
        rb"GGUF",
        FileKind(
            what="a GGUF file: weights for llama.cpp",
            to_serve=f"{_ORIGIN}, or serve it with llama.cpp: llama-server -m FILE",
        ),
    ),
    (
        rb".{4}TFL3",
        FileKind(
            what="a TensorFlow Lite model",
            to_serve="convert it to ONNX: pip install tensorflow tf2onnx; python -m tf2onnx.convert --tflite FILE "
            "--output model.onnx",
        ),
    ),
    (
        rb"\x89HDF\r\n\x1a\n",
        FileKind(what="an HDF5 file, such as a Keras model", to_serve=_KERAS, to_send="save its rows as NPY"),
    ),
    (rb"PAR1", FileKind(what="a Parquet file")),
    (rb"ARROW1|FEA1", FileKind(what="an Arrow (Feather) file", to_send=_PANDAS.format("read_feather"))),
    (rb"\xff{4}.{3}\0[\x10\x14]\0\0\0", FileKind(what="an Arrow stream", to_send="save the table as CSV")),
    (rb"ORC", FileKind(what="an ORC file", to_send=_PANDAS.format("read_orc"))),
    (rb"Obj\x01", FileKind(what="an Avro file", to_send="save its records as CSV")),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileKind(what="an old Excel workbook (.xls)", to_send=_SHEET)),
    (rb"\x93NUMPY", FileKind(what="a NumPy array")),
    (rb"\x89PNG", FileKind(what="a PNG image")),
    (rb"\xff\xd8\xff", FileKind(what="a JPEG image")),
    (rb"GIF8", FileKind(what="a GIF image")),
    (rb"%PDF", FileKind(what="a PDF document")),
    (rb"\x7fELF", FileKind(what="a program or a shared library")),
    (rb"SQLite format 3", FileKind(what="an SQLite database")),
    (rb"\x1f\x8b", FileKind(what="a gzip file")),
)
"""The first bytes of files that are no text."""

_TEXT: tuple[tuple[bytes, FileKind], ...] = (
    (
        _XML + rb"<PMML",
        FileKind(what="a PMML model", to_serve=f"{_ORIGIN}, or save it in its library's own format"),
    ),
    (_XML + rb"<net\s[^>]*version=", FileKind(what="a model of OpenVINO (IR)", format=Format.OPENVINO_IR)),
    (
        rb"bs64\t",
        FileKind(
            what="an XGBoost model in the base64 format of its command line, retired in 2020",
            to_serve="open it with XGBoost 1.2 or older and save it as JSON",
        ),
    ),
    (
        rb'\{\s*"name"\s*:\s*"tree"\s*,\s*"version"\s*:\s*"v\d',
        FileKind(what="the JSON of LightGBM's dump_model", to_serve="save the model with save_model"),
    ),
    (
        rb'booster\[0\]:|\[\s*\{\s*"nodeid"\s*:',
        FileKind(what="what XGBoost's dump_model writes for people to read", to_serve="save the model with save_model"),
    ),
    (
        rb"version https://git-lfs\.github\.com/spec/",
        FileKind(
            what="a pointer of Git LFS, which stands for the file",
            to_serve="fetch the file: git lfs pull",
            to_send="fetch the file: git lfs pull",
        ),
    ),
    (rb"%PDF", FileKind(what="a PDF document")),
    (rb"<\?xml", FileKind(what="an XML document")),
    (rb"<[!a-zA-Z]", FileKind(what="an HTML or XML document")),
)

_BY_NAME_IN_ZIP: tuple[tuple[str, FileKind], ...] = (
    (
        r"(.+/)?(serialized_exported_program\.json|models/[^/]+\.json)",
        FileKind(what="a program of PyTorch's torch.export (.pt2)", format=Format.TORCH_EXPORT),
    ),
    (r"[^/]+/code/.+", FileKind(what="a TorchScript module of PyTorch", format=Format.TORCHSCRIPT)),
    (rf"{ROOT}/config\.json", FileKind(what="a Hugging Face model", format=Format.HUGGINGFACE)),
    (re.escape(GRAPH), FileKind(what="a model of OpenVINO (IR)", format=Format.OPENVINO_IR)),
    (
        r"MAR-INF/MANIFEST\.json",
        FileKind(
            what="an archive of TorchServe (.mar)",
            to_serve="unpack it, and name the model in it: unzip FILE -d FOLDER; or " + _SCRIPT.format("its handler"),
        ),
    ),
    (
        r"model\.ini",
        FileKind(
            what="a model of H2O (MOJO)",
            to_serve="convert it to ONNX, if it is a GBM: pip install h2o onnxmltools; in Python: "
            "onnxmltools.convert_h2o(FILE); or " + _SCRIPT.format("h2o.import_mojo"),
        ),
    ),
    (r"[^/]+/data\.pkl", _STATE_DICT),
    (r"model\.weights\.h5", FileKind(what="a Keras model", to_serve=_KERAS)),
    (r"xl/workbook\.(xml|bin)", FileKind(what="an Excel workbook", to_send=_SHEET)),
    (r"content\.xml", FileKind(what="a document of OpenOffice, such as a spreadsheet", to_send=_SHEET)),
    (r".+\.npy", FileKind(what="an NPZ file of NumPy arrays")),
)

_SPACY = FileKind(what="a pipeline of spaCy", to_serve=_SCRIPT.format("spacy.load"))

_BY_NAME_IN_FOLDER: tuple[tuple[str, FileKind], ...] = (
    ("saved_model.pb", _SAVED_MODEL),
    ("com.apple.CoreML", _CORE_ML),
    (
        "metadata/part-00000",
        FileKind(
            what="a model of Spark ML",
            to_serve="convert it to ONNX: pip install onnxmltools; in Python, where Spark is: "
            'onnxmltools.convert_sparkml(model, "model", [("features", FloatTensorType([None, FEATURES]))])',
        ),
    ),
    ("model_index.json", FileKind(what="a pipeline of Hugging Face's Diffusers", to_serve=_ORIGIN)),
)
