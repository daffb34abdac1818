"""Requests that have sizes of their own, as an HTTP client sends them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import VOCABULARY

from servefit.backends.model import Signature, Task
from servefit.backends.model.packing import Packing, join
from servefit.backends.model.types import Input, Output, Size
from servefit.errors import SpecError
from servefit.profiler.drivers.http.bodies import (
    JSON_VALUES,
    bodies,
    check_sizes,
    mean_body_bytes,
    tensors_of,
    usual_form,
)

if TYPE_CHECKING:
    from servefit.profiler.drivers.http.bodies import Form

PACKING = Packing(
    (
        Input(name="ids", datatype="int64", shape=("tokens",), start=0, stop=0),
        Input(name="image", datatype="float32", shape=(2, "height"), start=0, stop=0),
    ),
    ("tokens", "height"),
)
SIZES = ({"tokens": 2, "height": 3}, {"tokens": 5, "height": 1}, {"tokens": 2, "height": 3})


def request(sizes: dict[str, int], seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, VOCABULARY, (1, sizes["tokens"]))
    return [ids, generator.standard_normal((1, 2 * sizes["height"])).astype(np.float32)]


REQUESTS = [request(sizes, seed) for seed, sizes in enumerate(SIZES)]
ROWS = join([PACKING.pack(blocks, sizes, "float64") for blocks, sizes in zip(REQUESTS, SIZES, strict=True)])


def sent(form: Form, rows: np.ndarray = ROWS, rows_per_request: int = 1) -> list[Any]:
    given = bodies(form, rows, rows_per_request=rows_per_request, tensors=tensors_of(PACKING), packing=PACKING)
    return list(given)


@pytest.mark.parametrize("form", ["open-inference", "open-inference-binary"])
def test_each_request_says_the_shapes_of_its_own_tensors(form: Form) -> None:
    for (headers, body), (ids, image), sizes in zip(sent(form), REQUESTS, SIZES, strict=True):
        length = int(dict(headers).get("inference-header-content-length", len(body)))
        first, second = json.loads(body[:length])["inputs"]
        assert (first["name"], first["datatype"], first["shape"]) == ("ids", "INT64", [1, sizes["tokens"]])
        assert (second["name"], second["datatype"], second["shape"]) == ("image", "FP32", [1, 2, sizes["height"]])
        if form == "open-inference":
            assert first["data"] == ids.ravel().tolist()
            np.testing.assert_array_equal(np.float32(second["data"]), image.ravel())
        else:
            assert body[length:] == ids.astype("<i8").tobytes() + image.astype("<f4").tobytes()


def test_instances_are_objects_of_nested_lists() -> None:
    for (_, body), (ids, image) in zip(sent("sagemaker-json"), REQUESTS, strict=True):
        (instance,) = json.loads(body)["instances"]
        assert instance["ids"] == ids[0].tolist()
        np.testing.assert_array_equal(np.float32(instance["image"]), image.reshape(2, -1))


def test_what_cannot_be_one_request_is_known_before_one_is_made() -> None:
    alike, mixed = ROWS[[0, 2]], ROWS[[0, 2, 1]]
    check_sizes(alike, PACKING, rows_per_request=2, form="open-inference-binary")
    check_sizes(mixed, PACKING, rows_per_request=1, form="open-inference")
    check_sizes(mixed, PACKING, rows_per_request=2, form="sagemaker-json")
    check_sizes(mixed, None, rows_per_request=2, form="open-inference")
    check_sizes(ROWS[[0, 2, 1, 1]], PACKING, rows_per_request=2, form="open-inference")
    with pytest.raises(SpecError, match="rows of different sizes"):
        check_sizes(mixed, PACKING, rows_per_request=2, form="open-inference")


def test_rows_of_the_same_sizes_may_be_one_request_and_others_not() -> None:
    ((_, body),) = sent("open-inference", ROWS[[0, 2]], rows_per_request=2)
    assert json.loads(body)["inputs"][0]["shape"] == [2, 2]
    with pytest.raises(SpecError, match="rows of different sizes") as refused:
        sent("open-inference", rows_per_request=2)
    assert refused.value.remedy == "send one row a request"


@pytest.mark.parametrize("form", ["sagemaker-csv", "json"])
def test_forms_that_do_not_tell_sizes_are_refused(form: Form) -> None:
    with pytest.raises(SpecError, match="does not tell the sizes of a request"):
        sent(form)


def test_the_mean_length_of_a_body_is_that_of_what_is_sent() -> None:
    lengths = [len(body) for _, body in sent("open-inference")]
    found = mean_body_bytes("open-inference", ROWS, rows_per_request=1, packing=PACKING)
    assert found == round(sum(lengths) / len(lengths))


def network(*sizes: str) -> Signature:
    return Signature(
        task=Task.TENSOR,
        features=4,
        outputs=1,
        inputs=(Input(name="x", datatype="float32", shape=sizes or (4,), start=0, stop=4),),
        sizes=tuple(Size(name=name, usual=1) for name in sizes),
        output_tensors=(Output(name="y", datatype="float32", shape=(), start=0, stop=1),),
    )


def test_images_go_out_as_binary_tensors_and_texts_as_json() -> None:
    texts = np.zeros((3, 1 + JSON_VALUES), np.float32)
    texts[:, 0] = [7, 300, JSON_VALUES]
    assert usual_form(network("length"), texts, rows_per_request=1) == "open-inference"
    assert usual_form(network("length"), texts, rows_per_request=3) == "open-inference-binary"
    assert usual_form(network("length"), texts[2:], rows_per_request=1) == "open-inference"
    images = np.zeros((3, 2 + 2 * JSON_VALUES), np.float32)
    images[:, :2] = 2, JSON_VALUES
    assert usual_form(network("height", "width"), images, rows_per_request=1) == "open-inference-binary"


def test_tables_go_out_as_json_however_wide_they_are() -> None:
    table = Signature(task=Task.REGRESSION, features=2 * JSON_VALUES, outputs=1)
    assert usual_form(table, np.zeros((2, table.features), np.float32), rows_per_request=1) == "open-inference"
