"""Requests of a model whose columns are numbers, categories and texts, in every form that tables and tensors have."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.column_pipelines import TABLE, mixed, opened

from servefit.backends.payload.reading import payload_for
from servefit.backends.types import Target
from servefit.profiler.drivers.http.bodies import bodies, tensors_of
from servefit.profiler.drivers.http.detection import packing_of, tensor_of
from servefit.serving.config import ArtifactFacts, EndpointConfig, Limits
from servefit.serving.messages import Inference, Refused, Request
from servefit.serving.protocols import metadata, open_inference, sagemaker

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.profiler.drivers.http.bodies import Form

ROW = {"age": 30, "income": 1.5, "city": "Rome", "note": "good, École", "zip": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return opened(mixed(), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def config(model: Model) -> EndpointConfig:
    artifact = ArtifactFacts(
        backend="onnxruntime", backend_version="1.20", model_digest="", target=Target.CPU, folder="/artifact", facts={}
    )
    return EndpointConfig(name="mixed", artifact=artifact, signature=model.signature, limits=Limits(rows=5))


def invoked(config: EndpointConfig, body: str, content_type: str = "application/json") -> Inference:
    request = Request(b"POST", b"/invocations", {b"content-type": content_type.encode()}, body.encode())
    return sagemaker.decode(request, config.signature, config.limits)


def inferred(config: EndpointConfig, inputs: list[dict[str, Any]], binary: bytes = b"") -> Inference:
    content = json.dumps({"inputs": inputs}).encode()
    headers = {b"inference-header-content-length": b"%d" % len(content)} if binary else {}
    return open_inference.decode(Request(b"POST", b"/v2/models/mixed/infer", headers, content + binary), config)


def tensors(**changed: Any) -> list[dict[str, Any]]:
    kinds = {"age": "FP32", "income": "FP64", "city": "BYTES", "note": "BYTES", "zip": "INT64"}
    values = {**ROW, **changed}
    return [{"name": name, "shape": [1, 1], "datatype": kinds[name], "data": [values[name]]} for name in kinds]


FORMS: dict[str, tuple[str, Any]] = {
    "objects": ("application/json", {"instances": [ROW]}),
    "an object with another field": ("application/json", {"instances": [{**ROW, "id": "x"}]}),
    "a data frame as MLflow splits it": (
        "application/json",
        {"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}},
    ),
    "a data frame as MLflow records it": ("application/json", {"dataframe_records": [ROW]}),
    "cells": ("application/json", {"instances": [list(ROW.values())]}),
    "cells with names": (
        "application/json",
        {"columns": list(reversed(ROW)), "data": [list(reversed(ROW.values()))]},
    ),
    "features": ("application/json", {"features": list(ROW.values())}),
    "columns": ("application/json", {"inputs": {name: [value] for name, value in ROW.items()}}),
    "lines": ("application/jsonlines", ROW),
    "an object with a key of another form": ("application/json", {"data": [[1]], **ROW, "features": [1]}),
    "objects under another key": ("application/json", {"data": [ROW]}),
    "an object with columns beside it": ("application/json", {"inputs": {"age": [1]}, **ROW}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_row_is_the_same_in_every_form_of_json(form: str, config: EndpointConfig, model: Model) -> None:
    content_type, document = FORMS[form]
    found = invoked(config, json.dumps(document), content_type).rows
    np.testing.assert_array_equal(found, payload_for(model, [ROW]).rows)


@pytest.mark.parametrize(
    "body",
    [
        '30,1.5,Rome,"good, École",3\n',
        'note;age;income;city;zip\n"good, École";30;1.5;Rome;3\n',
        "id\tzip\tnote\tcity\tincome\tage\n7\t3\tgood, École\tRome\t1.5\t30",
    ],
)
def test_a_row_is_the_same_in_csv(body: str, config: EndpointConfig, model: Model) -> None:
    np.testing.assert_array_equal(invoked(config, body, "text/csv").rows, payload_for(model, [ROW]).rows)


@pytest.mark.parametrize("note", ["a;b;c;d;e;f;g", 'so;"it";is;said;to;be', "two;lines;\nof;a;text;;"])
def test_what_separates_cells_is_not_looked_for_in_texts(note: str, config: EndpointConfig, model: Model) -> None:
    quoted = note.replace('"', '""')
    body = f'30,1.5,Rome,"{quoted}",3\n'
    expected = payload_for(model, [{**ROW, "note": note}]).rows
    np.testing.assert_array_equal(invoked(config, body, "text/csv").rows, expected)


def test_an_empty_cell_is_a_missing_text_where_the_model_takes_one(config: EndpointConfig, model: Model) -> None:
    found = invoked(config, "30,1.5,,good,3\n", "text/csv").rows
    np.testing.assert_array_equal(found, payload_for(model, [{**ROW, "city": None, "note": "good"}]).rows)
    texts = model.signature.packing.unpack(invoked(config, "30,1.5,Rome,,3\n", "text/csv").rows, {})
    assert texts[3].tolist() == [""]


def test_tensors_hold_texts_in_json_and_in_binary(config: EndpointConfig, model: Model) -> None:
    expected = payload_for(model, [ROW]).rows
    np.testing.assert_array_equal(inferred(config, tensors()).rows, expected)
    inputs, binary = tensors(), b""
    for tensor in inputs:
        if tensor["datatype"] == "BYTES":
            content = tensor.pop("data")[0].encode()
            tensor["parameters"] = {"binary_data_size": 4 + len(content)}
            binary += struct.pack("<I", len(content)) + content
    np.testing.assert_array_equal(inferred(config, inputs, binary).rows, expected)


def test_metadata_name_columns_and_call_texts_bytes(config: EndpointConfig) -> None:
    described = json.loads(metadata.model_metadata(config).body)["inputs"]
    assert [(each["name"], each["datatype"], each["shape"]) for each in described] == [
        ("age", "FP64", [-1, 1]),
        ("income", "FP64", [-1, 1]),
        ("city", "BYTES", [-1, 1]),
        ("note", "BYTES", [-1, 1]),
        ("zip", "INT16", [-1, 1]),
    ]
    assert {each["name"]: each["parameters"] for each in described} == {
        "age": {"kind": "number", "takes_missing": True},
        "income": {"kind": "number", "takes_missing": True},
        "city": {
            "kind": "category",
            "takes_missing": True,
            "takes_unknown": True,
            "known": ["Oslo", "Paris", "Rome"],
        },
        "note": {"kind": "text", "takes_missing": False},
        "zip": {"kind": "category", "takes_missing": False, "takes_unknown": True, "known": [1, 2, 3, 4]},
    }


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"zip": 2.5}, "expected a whole number in row 1, column 1, got 2.5"),
        ({"age": "30"}, "expected a number in row 1 of 'age', got '30'"),
        ({"age": None}, None),
        ({"age": True}, None),
        ({"age": 10**400}, "expected a number in row 1 of 'age', got 1000"),
        ({"city": None}, None),
        ({"city": 7}, "expected a text in row 1 of 'city', got 7"),
        ({"city": ["Rome", "Oslo"]}, "expected 'city' of the shape (n), got (n, 2)"),
        ({"note": None}, "expected a text in row 1 of 'note', got None"),
        ({"note": "\ud800"}, "which is not Unicode"),
        ({"zip": None}, "expected a number in row 1 of 'zip', got None"),
        ({"zip": 40000}, "expected a whole number from -32768 to 32767 in row 1, column 1, got 40000"),
    ],
)
def test_cells_that_are_of_another_kind_are_refused(
    changed: dict[str, Any], reason: str | None, config: EndpointConfig
) -> None:
    body = json.dumps({"instances": [{**ROW, **changed}]})
    if reason is None:
        assert np.isfinite(invoked(config, body).rows[:, 0]).all()
        return
    with pytest.raises(Refused) as refused:
        invoked(config, body)
    assert refused.value.status == 400
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        ('{"instances": [{"age": 1}]}', "application/json", "got no column 'income', nor 3 others"),
        ('{"instances": [[1, 2]]}', "application/json", "expected 5 columns in row 1, got 2"),
        ('{"instances": []}', "application/json", "expected at least one row, got none"),
        (json.dumps({"columns": ["age", *ROW], "data": [[1, *ROW.values()]]}), "application/json", "got 'age' twice"),
        ("age,income,city,note\n1,2,Rome,good\n", "text/csv", "got no column 'zip'"),
        ("1,2\n", "text/csv", "expected 5 columns in row 1, got 2"),
        ("1,x,Rome,good,3\n", "text/csv", "expected a number in row 1 of 'income', got 'x'"),
        ('1,2,"Rome,good,3\n', "text/csv", "expected CSV, got text that does not parse"),
    ],
)
def test_bodies_that_are_no_such_table_are_refused(
    body: str, content_type: str, reason: str, config: EndpointConfig
) -> None:
    with pytest.raises(Refused) as refused:
        invoked(config, body, content_type)
    assert refused.value.status == 400
    assert reason in refused.value.reason


@pytest.mark.parametrize("content", [b"\xff\xff\xff\xffab", b"\x01\0\0", b"\x02\0\0\0\xff\xfe", b"\0\0\0\0\0\0\0\0"])
def test_binary_texts_that_do_not_fit_are_refused(content: bytes, config: EndpointConfig) -> None:
    inputs = tensors()
    del inputs[2]["data"]
    inputs[2]["parameters"] = {"binary_data_size": len(content)}
    with pytest.raises(Refused) as refused:
        inferred(config, inputs, content)
    assert refused.value.status == 400


def test_more_rows_than_a_request_may_have_are_refused(config: EndpointConfig) -> None:
    with pytest.raises(Refused) as refused:
        invoked(config, json.dumps({"instances": [ROW] * 6}))
    assert refused.value.status == 413


@pytest.mark.parametrize("form", ["open-inference", "open-inference-binary", "sagemaker-json", "sagemaker-csv"])
def test_what_the_load_client_sends_is_read_as_the_payload(form: Form, config: EndpointConfig, model: Model) -> None:
    packing, rows = model.signature.packing, payload_for(model, TABLE.head(20)).rows
    sent = bodies(form, rows, rows_per_request=1, tensors=tensors_of(packing), packing=packing)
    for row, (headers, body) in zip(rows, sent, strict=True):
        named = {name.encode(): value.encode() for name, value in headers}
        if form.startswith("open-inference"):
            found = open_inference.decode(Request(b"POST", b"/v2/models/mixed/infer", named, body), config)
        else:
            found = sagemaker.decode(Request(b"POST", b"/invocations", named, body), model.signature, config.limits)
        width = found.rows.shape[1]
        np.testing.assert_array_equal(found.rows[0], row[:width])
        assert not row[width:].any()


def test_an_endpoint_tells_a_load_client_how_its_columns_are_packed(config: EndpointConfig, model: Model) -> None:
    described = json.loads(metadata.model_metadata(config).body)["inputs"]
    found = packing_of(described, [tensor_of(each, "mixed") for each in described], "mixed")
    assert found is not None
    assert [(one.name, one.datatype, one.shape) for one in found.tensors] == [
        (one.name, one.datatype, one.shape) for one in model.signature.inputs
    ]
    assert list(found.sizes) == [size.name for size in model.signature.sizes]
