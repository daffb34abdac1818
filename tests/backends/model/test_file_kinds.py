"""Files and folders that servefit does not read are refused with the name of their format and a remedy."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from servefit.backends.model.archive import find_model
from servefit.backends.model.formats import model_format
from servefit.backends.model.types import Format
from servefit.errors import CorruptModel, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

SAFETENSORS = b'@\0\0\0\0\0\0\0{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}       ' + bytes(16)
TOKENIZER = '{\n  "version": "1.0",\n  "truncation": null}'
CONFIG = json.dumps({"architectures": ["BertForSequenceClassification"], "model_type": "bert"})

WHISPER = json.dumps({"architectures": ["WhisperModel"], "model_type": "whisper"})
FINGERPRINT = b"\x08\xbe\x01\x10\x81\x05\x18\x98\x01\x20\x8b\x01\x28\xa4\x01\x32\x02\x08\x04\x3a\x02282"
"""Of a SavedModel: five numbers and two messages, as an ONNX model has."""

T5 = json.dumps({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"})
GPT = json.dumps({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"})


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (zipped("archive/data.pkl", "archive/version", "archive/data/0"), "PyTorch's torch.save", "torch.onnx.export"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "PyTorch's torch.save", "torch.onnx.export"),
        (zipped("metadata.json", "config.json", "model.weights.h5"), "a Keras model", "model.export"),
        (b"\x89HDF\r\n\x1a\n\0\0\0\0", "HDF5 file, such as a Keras model", "model.export"),
        (SAFETENSORS, "a safetensors file", "export the whole model to ONNX"),
        (b"GGUF\x03\0\0\0", "a GGUF file", "to ONNX"),
        (b"\x1c\0\0\0TFL3\x14\0", "TensorFlow Lite", "tf2onnx"),
        (b'<?xml version="1.0"?>\n<!-- made by us -->\n<PMML version="4.4">', "a PMML model", "to ONNX"),
        (zipped("handler.py", "model.pt", "MAR-INF/MANIFEST.json"), "TorchServe", "unzip FILE -d FOLDER"),
        (zipped("model.ini", "domains/d000.txt", "trees/t00_000.bin"), "H2O", "onnxmltools.convert_h2o"),
        (T5.encode(), r"\(T5ForConditionalGeneration\), an encoder and a decoder", "calls generate: code/inference.py"),
        (b"bs64\tYmluZg==", "retired in 2020", "save it as JSON"),
        (b'{"name":"tree",\n"version":"v4",\n"num_class":1}', "LightGBM's dump_model", "save_model"),
        (b'[\n  { "nodeid": 0, "depth": 0}]', "XGBoost's dump_model", "save_model"),
        (b"booster[0]:\n0:[f0<1] yes=1,no=2,missing=1\n", "XGBoost's dump_model", "save_model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS", "git lfs pull"),
        (b"\x08\x01\x12\x03abc", "TensorFlow SavedModel", "tf2onnx"),
        (b"\x08\x04\x12\x03abc\xa2\x1f\x03abc", "a Core ML model", "to ONNX"),
    ],
)
def test_a_model_of_another_kind_is_unsupported_with_what_to_do(
    content: bytes, what: str, remedy: str, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(UnsupportedModel, match=what) as caught:
        model_format(path)
    assert caught.value.remedy is not None
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "known"),
    [
        (zipped("net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"), Format.TORCHSCRIPT),
        (zipped("serialized_exported_program.json", "version"), Format.TORCH_EXPORT),
        (zipped("net/archive_format", "net/models/model.json"), Format.TORCH_EXPORT),
        (CONFIG.encode(), Format.HUGGINGFACE),
        (b'<?xml version="1.0"?>\n<net name="net" version="11">', Format.OPENVINO_IR),
        (zipped("openvino/model.xml", "openvino/model.bin"), Format.OPENVINO_IR),
        (b"\x18\0\0\0ORTM\0\0", Format.ONNX_ORT),
    ],
)
def test_a_network_is_told_by_its_content(content: bytes, known: Format, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(content)
    assert model_format(tmp_path / "model") is known


def test_a_safetensors_file_that_is_cut_off_in_its_header_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(SAFETENSORS[:50])
    with pytest.raises(CorruptModel, match="its header is to have 64 bytes, and the file has 50") as caught:
        model_format(tmp_path / "model.safetensors")
    assert caught.value.remedy == "copy the whole file"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PAR1\x15\x04\x15 \x15$L\x15\x04", "a Parquet file"),
        (b"ARROW1\0\0\xff\xff\xff\xff", "an Arrow"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
        (zipped("X.npy"), "an NPZ file"),
        (zipped("notes.txt"), "a ZIP archive"),
        (b"PAR1,PAR2\n1,2\n", "it is text"),
        ("ä".encode() * 3000, "it is text"),
        (b"\x08\x01" * 10, "in no model format"),
    ],
)
def test_what_is_no_model_is_called_by_its_name(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(CorruptModel, match=what):
        model_format(path)


@pytest.mark.parametrize(
    ("files", "what", "remedy"),
    [
        (
            {"config.json": WHISPER, "tokenizer.json": TOKENIZER, "model.safetensors": SAFETENSORS},
            r"bert is a Hugging Face model \(WhisperModel\)",
            "optimum-cli export onnx",
        ),
        ({"config.json": '{"model_type": "llama"}', "a.bin": b"x"}, r"a Hugging Face model \(llama\)", "optimum-cli"),
        ({"config.json": GPT, "model.safetensors": SAFETENSORS}, r"\(GPT2LMHeadModel\), which generates", "vllm serve"),
        ({"saved_model.pb": b"\x08\x01\x12\x03abc", "variables/variables.index": b"x"}, "SavedModel", "tf2onnx"),
        ({"saved_model.pb": b"\x08\x01\x12\x03abc", "fingerprint.pb": FINGERPRINT}, "SavedModel", "tf2onnx"),
        ({"Manifest.json": "{}", "Data/com.apple.CoreML/model.mlmodel": b"x"}, "a Core ML model", "to ONNX"),
        ({"model_index.json": "{}", "unet/config.json": CONFIG}, "Diffusers", "to ONNX"),
        (
            {"metadata/part-00000": '{"class":"org.apache.spark.ml.PipelineModel"}', "stages/0/data/part-0": b"PAR1"},
            "Spark",
            "onnxmltools.convert_sparkml",
        ),
        ({"config.cfg": "[nlp]", "meta.json": "{}", "vocab/strings.json": "[]"}, "spaCy", "calls spacy.load"),
        ({"one.gguf": b"GGUF\x03\0", "two.gguf": b"GGUF\x03\0", "README.md": "Hello"}, "one.gguf is a GGUF", "to ONNX"),
    ],
)
def test_a_folder_of_another_library_is_called_by_its_name(
    files: dict[str, str | bytes], what: str, remedy: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        path = tmp_path / "bert" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UnsupportedModel, match=what) as caught:
        find_model(tmp_path / "bert")
    assert caught.value.remedy is not None
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("config", ["[]", "{", '{"architectures": [3]}', "[" * 100_000])
def test_another_config_is_none_of_hugging_face(config: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CorruptModel, match="none of its 2 files is a model"):
        find_model(tmp_path)


def test_a_servable_model_beside_a_tokenizer_is_found(xgboost_ubjson: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(TOKENIZER)
    (tmp_path / "config.json").write_text(CONFIG)
    (tmp_path / "model.bin").write_bytes(xgboost_ubjson.read_bytes())
    assert find_model(tmp_path) == tmp_path / "model.bin"
    assert model_format(tmp_path / "model.bin") is Format.XGBOOST_UBJSON


def test_an_encoder_of_a_family_of_encoder_decoders_is_exported(tmp_path: Path) -> None:
    for name in ("T5EncoderModel", "BartForSequenceClassification"):
        (tmp_path / "config.json").write_text(json.dumps({"architectures": [name]}))
        with pytest.raises(UnsupportedModel) as caught:
            model_format(tmp_path / "config.json")
        assert "optimum-cli export onnx" in str(caught.value.remedy)
