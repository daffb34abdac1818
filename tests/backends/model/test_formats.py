"""The format of a model is recognised by content."""

from __future__ import annotations

import pickle
import shutil
import zlib
from pathlib import Path

import pytest

from servefit.backends.model.formats import is_gzip_archive, model_format
from servefit.backends.model.types import Format
from servefit.errors import CorruptModel, UnsupportedModel

LEGACY = Path(__file__).parents[2] / "fixtures" / "legacy_xgboost"


@pytest.mark.parametrize(
    ("fixture", "expected"),
    [
        ("xgboost_json", Format.XGBOOST_JSON),
        ("xgboost_ubjson", Format.XGBOOST_UBJSON),
        ("lightgbm_text", Format.LIGHTGBM_TEXT),
    ],
)
def test_a_model_is_recognised_under_any_name(
    fixture: str, expected: Format, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for name in ("xgboost-model", "model.bin", "model.onnx"):
        path = Path(shutil.copy(request.getfixturevalue(fixture), tmp_path / name))
        assert model_format(path) is expected


def test_pretty_printed_xgboost_json_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text('\n{\n  "version": [1, 7, 6],\n  "learner": {}}')
    assert model_format(path) is Format.XGBOOST_JSON


@pytest.mark.parametrize("skipped_bytes", [0, 4])
def test_legacy_binary_is_recognised_with_its_header_and_without(skipped_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes((LEGACY / "multiclass.model").read_bytes()[skipped_bytes:])
    assert model_format(path) is Format.XGBOOST_BINARY


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_pickles_of_every_age_are_recognised(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(pickle.dumps(Path("x"), protocol))
    assert model_format(path) is Format.PICKLE


def test_a_compressed_pickle_is_a_pickle_and_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "model"
    gzip = zlib.compressobj(wbits=31)
    path.write_bytes(gzip.compress(pickle.dumps([1])) + gzip.flush())
    assert model_format(path) is Format.PICKLE
    assert not is_gzip_archive(path)


def test_onnx_is_recognised_whole_and_truncated(tmp_path: Path) -> None:
    import onnx

    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 3])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 3])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [value], [result])
    content = onnx.helper.make_model(graph).SerializeToString()
    path = tmp_path / "model"
    path.write_bytes(content)
    assert model_format(path) is Format.ONNX
    path.write_bytes(content[: len(content) // 2])
    assert model_format(path) is Format.ONNX


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        (b"a,b,c\n1,2,3\n", "text, and not a LightGBM model"),
        (b'{"weights": [1, 2]}', "JSON, and not an XGBoost model"),
        (b"PK\x03\x04" + bytes(40), "ZIP"),
        (b"\x93NUMPY\x01\0", "NumPy"),
        (bytes(range(256)), "no model format"),
        (bytes(4000), "no model format"),
        (b"{", "JSON"),
    ],
)
def test_a_foreign_file_is_refused_with_what_it_looks_like(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(CorruptModel, match=reason) as caught:
        model_format(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "what"), [(b"GGUF\3\0\0\0", "GGUF"), (b"\x89HDF\r\n\x1a\nabc", "Keras")])
def test_models_of_other_libraries_are_unsupported_by_name(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(UnsupportedModel, match=what):
        model_format(path)
