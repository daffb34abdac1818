"""Models of several inputs: tensors are matched by name, in any order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from tests.onnx_models import FLOAT, STRING, TOKENS, answers, encoder, node, save, sentences
from tests.serving.asked_model import AskedModel

from servefit.serving.messages import Refused
from servefit.serving.protocols import metadata

pytestmark = pytest.mark.integration

NAMES = ("input_ids", "attention_mask", "token_type_ids")
Refusal = Callable[..., Refused]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(tmp_path_factory.mktemp("state")))
        yield AskedModel(encoder(tmp_path_factory.mktemp("model") / "encoder.onnx"))


def tensor(name: str, values: np.ndarray, datatype: str = "INT64") -> dict[str, Any]:
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "data": values.ravel().tolist()}


def body(inputs: list[dict[str, Any]]) -> bytes:
    return json.dumps({"inputs": inputs}).encode()


def body_of(feeds: dict[str, np.ndarray]) -> bytes:
    return body([tensor(name, values) for name, values in feeds.items()])


@pytest.mark.parametrize("order", [*permutations(NAMES)])
def test_tensors_are_matched_by_name_in_whatever_order_they_come(order: tuple[str, ...], served: AskedModel) -> None:
    feeds = sentences()
    in_order = {name: feeds[name] for name in order}
    np.testing.assert_allclose(
        served.predictions(served.infer(body_of(in_order))), answers(served.path, feeds), atol=1e-6
    )


def test_tensors_in_binary_are_matched_by_name_too(served: AskedModel) -> None:
    feeds = sentences()
    contents = [np.ascontiguousarray(values, dtype="<i8").tobytes() for values in feeds.values()]
    inputs = [
        {
            "name": name,
            "shape": list(values.shape),
            "datatype": "INT64",
            "parameters": {"binary_data_size": 8 * values.size},
        }
        for name, values in feeds.items()
    ]
    header = body(inputs)
    found = served.predictions(served.infer(header + b"".join(contents), header_length=len(header)))
    np.testing.assert_allclose(found, answers(served.path, feeds), atol=1e-6)


def test_other_datatypes_are_taken_where_they_hold_the_same_numbers(served: AskedModel) -> None:
    feeds = sentences()
    datatypes = ("INT32", "FP32", "BOOL")
    kinds = (np.int32, np.float32, bool)
    inputs = [
        tensor(name, feeds[name].astype(kind), datatype)
        for name, datatype, kind in zip(
            ("input_ids", "token_type_ids", "attention_mask"), datatypes, kinds, strict=True
        )
    ]
    np.testing.assert_allclose(served.predictions(served.infer(body(inputs))), answers(served.path, feeds), atol=1e-6)


def test_invocations_with_several_inputs_are_matched_by_name_too(served: AskedModel) -> None:
    feeds = sentences()
    expected = answers(served.path, feeds)
    np.testing.assert_allclose(served.predictions(served.invoke(body_of(feeds))), expected, atol=1e-6)
    joined = np.concatenate([feeds[name] for name in NAMES], axis=1)
    lines = "\n".join(",".join(map(str, row)) for row in joined)
    np.testing.assert_allclose(served.predictions(served.invoke(lines.encode(), "text/csv")), expected, atol=1e-6)


def renamed(feeds: dict[str, np.ndarray], *names: str) -> bytes:
    return body([tensor(name, values) for name, values in zip(names, feeds.values(), strict=False)])


@pytest.mark.parametrize(
    ("names", "got"),
    [
        (("a", "b", "c"), "'a'"),
        (("input_ids", "token_type_ids", "mask"), "'mask'"),
        (("input_ids", "token_type_ids"), "no 'attention_mask'"),
        (("input_ids",), "no 'attention_mask', nor 1 others"),
        (("input_ids", "token_type_ids", "input_ids"), "'input_ids' twice"),
    ],
)
@pytest.mark.parametrize("path", ["infer", "invocations"])
def test_unknown_missing_and_doubled_names_are_refused_with_the_names_that_there_are(
    path: str, names: tuple[str, ...], got: str, served: AskedModel, refusal: Refusal
) -> None:
    found = refusal(served.infer if path == "infer" else served.invoke, renamed(sentences(), *names))
    assert found.status == 400
    assert "'input_ids', 'attention_mask', 'token_type_ids'" in found.reason
    assert found.reason.endswith(f"got {got}")


def test_one_tensor_for_several_inputs_is_refused(served: AskedModel, refusal: Refusal) -> None:
    joined = np.concatenate([sentences()[name] for name in NAMES], axis=1)
    found = refusal(served.infer, body([tensor("input-0", joined)]))
    assert "'input_ids', 'attention_mask', 'token_type_ids'" in found.reason
    alone = refusal(served.infer, joined.astype("<i8").tobytes(), header_length=0)
    assert "'input_ids', 'attention_mask', 'token_type_ids'" in alone.reason


def test_the_dimensions_of_each_tensor_are_those_of_its_input(served: AskedModel, refusal: Refusal) -> None:
    feeds = sentences()
    feeds["attention_mask"] = np.ones((len(feeds["input_ids"]), 2 * TOKENS), dtype=np.int64)
    feeds["token_type_ids"] = np.ones((len(feeds["input_ids"]), 0), dtype=np.int64)
    found = refusal(served.infer, body_of(feeds))
    assert "'attention_mask' of the shape (n, 4), got (n, 8)" in found.reason
    square = sentences()
    square["input_ids"] = square["input_ids"].reshape(-1, 2, 2)
    assert "'input_ids' of the shape (n, 4), got (n, 2, 2)" in refusal(served.infer, body_of(square)).reason


def test_numbers_of_rows_that_differ_are_refused(served: AskedModel, refusal: Refusal) -> None:
    feeds = sentences()
    feeds["token_type_ids"] = feeds["token_type_ids"][:2]
    assert "inputs[1].shape: expected 6 rows" in refusal(served.infer, body_of(feeds)).reason


def test_errors_name_the_input(served: AskedModel, refusal: Refusal) -> None:
    feeds = {name: values.tolist() for name, values in sentences(1).items()}
    feeds["attention_mask"][0][2] = 0.5
    inputs = [{"name": name, "shape": [1, TOKENS], "datatype": "FP32", "data": data} for name, data in feeds.items()]
    assert "a whole number in row 1, column 7 (attention_mask), got 0.5" in refusal(served.infer, body(inputs)).reason


def test_metadata_and_configuration_name_the_inputs(served: AskedModel) -> None:
    described = json.loads(metadata.model_metadata(served.config).body)
    assert described["inputs"] == [{"name": name, "datatype": "INT64", "shape": [-1, TOKENS]} for name in NAMES]
    configured = json.loads(metadata.model_config(served.config).body)
    assert configured["input"] == [{"name": name, "data_type": "TYPE_INT64", "dims": [TOKENS]} for name in NAMES]


@pytest.mark.parametrize(
    ("datatype", "told"),
    [("float32", "FP32"), ("int64", "INT64"), ("float64", "FP64"), ("uint8", "UINT8"), ("bool", "BOOL")],
)
def test_a_single_input_keeps_its_name_and_says_its_datatype(datatype: str, told: str, served: AskedModel) -> None:
    model_input = replace(served.config.signature.inputs[0], datatype=datatype)
    signature = replace(served.config.signature, features=TOKENS, inputs=(model_input,))
    config = replace(served.config, signature=signature)
    described = json.loads(metadata.model_metadata(config).body)
    assert described["inputs"] == [{"name": "input_ids", "datatype": told, "shape": [-1, TOKENS]}]
    configured = json.loads(metadata.model_config(config).body)
    assert configured["input"] == [{"name": "input_ids", "data_type": f"TYPE_{told}", "dims": [TOKENS]}]


def test_invocations_may_name_the_tensors(served: AskedModel) -> None:
    feeds = sentences()
    columns = {name: values.tolist() for name, values in feeds.items()}
    instances = [{name: rows[nth] for name, rows in columns.items()} for nth in range(6)]
    expected = served.predictions(served.infer(body_of(feeds)))
    for document in ({"inputs": columns}, {"instances": instances}, instances):
        inference = served.invoke(json.dumps(document).encode())
        np.testing.assert_array_equal(served.predictions(inference), expected)
    lines = "\n".join(map(json.dumps, instances)).encode()
    np.testing.assert_array_equal(served.predictions(served.invoke(lines, "application/jsonlines")), expected)


def test_names_in_invocations_that_the_model_does_not_have_are_refused(served: AskedModel, refusal: Refusal) -> None:
    named = {"input_ids": [1] * TOKENS, "attention_mask": [1] * TOKENS, "types": [0] * TOKENS}
    refused = refusal(served.invoke, json.dumps({"instances": [named]}).encode())
    assert refused.status == 400
    assert "'types'" in refused.reason


@pytest.fixture(scope="module")
def difference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedModel]:
    """The difference of two columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(tmp_path_factory.mktemp("state")))
        inputs = {name: (FLOAT, ["n", 1]) for name in "ab"}
        path = tmp_path_factory.mktemp("model") / "difference.onnx"
        yield AskedModel(save(path, inputs, [node("Sub", ["a", "b"], ["y"])], {"y": FLOAT}))


def test_columns_are_matched_by_name_and_none_is_there_twice(difference: AskedModel, refusal: Refusal) -> None:
    assert difference.predictions(difference.invoke(b'[{"b": 2, "a": 7}]')).tolist() == [5]
    for doubled, content_type in (
        (b'{"instances": [{"a": 7, "b": 2, "a": 3}]}', "application/json"),
        (b'{"a": 7, "b": 2, "a": 3}', "application/jsonlines"),
    ):
        assert "each name once in an object, got 'a' twice" in refusal(difference.invoke, doubled, content_type).reason


def test_columns_named_after_inputs_in_another_order_are_refused(served: AskedModel, refusal: Refusal) -> None:
    """They go by position, and one input would be taken for another."""
    feeds = sentences(1)
    names = ("input_ids", "token_type_ids", "attention_mask")
    values = ",".join(str(value) for name in names for value in feeds[name][0])
    for written in ("{}", "{}_{}", "{}[{}]", "{}{}"):
        header = ",".join(written.format(name, nth) for name in names for nth in range(TOKENS))
        found = refusal(served.invoke, f"{header}\n{values}".encode(), "text/csv")
        assert found.reason.endswith("in that order, got 'input_ids', 'token_type_ids', 'attention_mask'")
    in_order = ",".join(f"{name}.{nth}" for name in NAMES for nth in range(TOKENS))
    in_order += "\n" + ",".join(str(value) for name in NAMES for value in feeds[name][0])
    predictions = served.predictions(served.invoke(in_order.encode(), "text/csv"))
    np.testing.assert_allclose(predictions, answers(served.path, feeds), atol=1e-6)


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedModel]:
    """A word that counts as many times as a number says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(tmp_path_factory.mktemp("state")))
        worth = {"keys_strings": ["one", "two"], "values_floats": [1.0, 2.0], "default_float": 0.0}
        nodes = [
            node("LabelEncoder", ["word"], ["worth"], domain="ai.onnx.ml", **worth),
            node("Mul", ["worth", "times"], ["y"]),
        ]
        inputs = {"word": (STRING, ["n", 1]), "times": (FLOAT, ["n", 1])}
        yield AskedModel(save(tmp_path_factory.mktemp("model") / "weighed.onnx", inputs, nodes, {"y": FLOAT}))


@pytest.mark.parametrize("value", ["3", "many", "", {}])
def test_texts_are_no_numbers_beside_texts_either(value: Any, weighed: AskedModel, refusal: Refusal) -> None:
    word = {"name": "word", "shape": [1, 1], "datatype": "BYTES", "data": ["two"]}
    times = {"name": "times", "shape": [1, 1], "datatype": "BYTES", "data": [value]}
    found = refusal(weighed.infer, body([word, times]))
    assert found.reason == f"inputs: expected numbers in 'times', got {value!r}"
    right = tensor("times", np.array([[3.0]]), "FP32")
    assert weighed.predictions(weighed.infer(body([word, right]))).tolist() == [6]
