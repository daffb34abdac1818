"""The bound on the sizes that the rows of a request have for themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.serving.conftest import NAME

from servefit.backends.model import Model
from servefit.backends.model.opaque import SIGNATURE as OPAQUE
from servefit.backends.model.texts import TEXT_SIZE
from servefit.backends.model.types import Format, Input, Output, Signature, Size, Task
from servefit.backends.payload.types import Payload, UsedSizes, with_sizes_of
from servefit.serving.config import Limits
from servefit.serving.messages import Refused
from servefit.serving.rows import RowSizeLimit

if TYPE_CHECKING:
    from tests.serving.conftest import Start


def network(*sizes: Size) -> Signature:
    """A network of one input of numbers that has these sizes."""
    value = Input(name="x", datatype="float32", shape=tuple(size.name for size in sizes), start=0, stop=0)
    output = Output(name="y", datatype="float32", shape=(), start=0, stop=1)
    signature = Signature(
        task=Task.TENSOR, features=1, outputs=1, inputs=(value,), sizes=sizes, output_tensors=(output,)
    )
    return signature.of_sizes({})


TEXT = network(Size(name="length", usual=8))
IMAGE = network(Size(name="height", usual=8), Size(name="width", usual=8))


def rows(*sizes: tuple[int, ...]) -> np.ndarray:
    """The beginnings of packed rows of these sizes."""
    return np.array([[*own, 0.0] for own in sizes], dtype=np.float32)


def refusal(signature: Signature, packed: np.ndarray, **limits: Any) -> str | None:
    try:
        RowSizeLimit(signature, Limits(**limits)).check(packed)
    except Refused as refused:
        return f"{refused.status} {refused.reason}"
    return None


def test_a_row_that_is_much_larger_than_what_the_model_was_tried_with_is_refused_with_a_remedy() -> None:
    assert refusal(TEXT, rows((4096,), (1,))) is None
    assert refusal(TEXT, rows((1,), (4097,))) == (
        "413 row 2: expected at most 4096 for 'length', got 4097: send shorter rows, or serve with --max-size 4097"
    )


def test_the_bound_is_on_the_product_of_all_sizes() -> None:
    assert refusal(IMAGE, rows((4096, 1), (64, 64))) is None
    assert refusal(IMAGE, rows((64, 65))) == (
        "413 row 1: expected at most 4096 for 'height' x 'width', got 64 x 65: "
        "send shorter rows, or serve with --max-size 4160"
    )


def test_four_times_the_largest_row_of_the_payload_is_served() -> None:
    """However many different rows it has: of these, some are kept."""
    lengths = [(1, length) for length in range(5_000, 5_040)]
    packed = rows(*lengths, (50, 100), (2, 15_000))
    sizes = tuple(UsedSizes(name=name, least=1, median=1, most=1) for name in ("height", "width"))

    described = Model(source="m", file=Path("m"), format=Format.ONNX, digest="", size_bytes=1, signature=IMAGE)
    model = with_sizes_of(described, Payload(rows=packed, source="rows", sizes=sizes))
    assert refusal(model.signature, rows((4 * 2, 15_000))) is None
    assert refusal(model.signature, rows((4 * 2, 15_001))) is not None


def test_the_user_may_allow_more_or_less() -> None:
    assert refusal(TEXT, rows((100_000,)), row_size=100_000) is None
    assert refusal(TEXT, rows((11,)), row_size=10) is not None


@pytest.mark.parametrize(
    "signature",
    [
        OPAQUE,
        network(Size(name=TEXT_SIZE, usual=1)),
        Signature(task=Task.REGRESSION, features=2, outputs=1),
    ],
)
def test_bytes_texts_and_tables_have_no_such_size(signature: Signature) -> None:
    assert refusal(signature, rows((2**23,))) is None


@pytest.mark.integration
def test_no_call_is_made_for_a_row_that_is_too_large_however_it_is_sent(start: Start) -> None:
    with start({"us": 1}, signature=TEXT) as endpoint:
        long = [0.5] * 5000
        tensor = {"name": "x", "shape": [1, 5000], "datatype": "FP32", "data": long}
        for path, document in (
            ("/invocations", {"instances": [long]}),
            ("/invocations", {"inputs": {"x": [long]}}),
            (f"/v2/models/{NAME}/infer", {"inputs": [tensor]}),
        ):
            body = json.dumps(document).encode()
            answer = endpoint.ask("POST", path, body, {"content-type": "application/json"})
            assert (answer.status, "--max-size 5000" in answer.body.decode()) == (413, True)
        short = json.dumps({"instances": [[0.5, 0.5]]}).encode()
        answer = endpoint.ask("POST", "/invocations", short, {"content-type": "application/json"})
        assert answer.predictions == [2.0]  # how long it is, which is first in a packed row
        assert endpoint.metric("servefit_rows_total") == 1
