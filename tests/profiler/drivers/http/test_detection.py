"""The protocol of a server is detected by asking it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.errors import MeasurementError, SpecError
from servefit.profiler.drivers.http.address import Address
from servefit.profiler.drivers.http.bodies import Tensor
from servefit.profiler.drivers.http.detection import detect

if TYPE_CHECKING:
    from tests.profiler.conftest import HostSmall

pytestmark = pytest.mark.integration

ONE_ROW = np.array([[1, 2, 3]], dtype=np.float32)


@pytest.mark.parametrize(
    ("facts", "path", "form", "found_path"),
    [
        ({"speaks": "open-inference"}, "", "open-inference", "/v2/models/only/infer"),
        ({"speaks": "open-inference"}, "/v2/models/only", "open-inference", "/v2/models/only/infer"),
        ({"speaks": "sagemaker", "takes": "text/csv"}, "", "sagemaker-csv", "/invocations"),
        ({"speaks": "sagemaker", "takes": "application/json"}, "", "sagemaker-json", "/invocations"),
        ({"speaks": "nothing"}, "/invocations", "sagemaker-csv", "/invocations"),
        ({"speaks": "nothing"}, "", "json", "/"),
        ({"speaks": "nothing"}, "/predict?x=1", "json", "/predict?x=1"),
    ],
)
def test_a_server_is_asked_what_it_speaks(
    host_small: HostSmall, facts: dict[str, Any], path: str, form: str, found_path: str
) -> None:
    with host_small(facts) as hosted:
        found = detect(Address.parse(hosted.url + path), rows=ONE_ROW)
    assert (found.form, found.address.path) == (form, found_path)
    if form == "open-inference":
        assert (found.model, found.tensors) == ("only", (Tensor("rows", "FP64", (3,)),))
        body = json.loads(found.requests(ONE_ROW)[0].partition(b"\r\n\r\n")[2])
        assert body["inputs"][0] == {"name": "rows", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}


def test_a_model_that_is_not_served_is_said_to_be_missing(host_small: HostSmall) -> None:
    with host_small({"speaks": "open-inference"}) as hosted, pytest.raises(SpecError, match="other"):
        detect(Address.parse(hosted.url), rows=ONE_ROW, model="other")


def test_nobody_there_is_an_error_in_one_line(host_small: HostSmall) -> None:
    with host_small({}) as hosted:
        url = hosted.url
    with pytest.raises(MeasurementError, match=r"does not answer: Connection refused"):
        detect(Address.parse(url), rows=ONE_ROW)


def test_a_server_that_says_nothing_is_not_waited_for(host_small: HostSmall) -> None:
    with host_small({"act": "hang"}) as hosted, pytest.raises(MeasurementError, match="does not answer: timed out"):
        detect(Address.parse(f"{hosted.url}/invocations"), rows=ONE_ROW, timeout_s=0.2)


def test_garbage_is_not_taken_for_an_answer(host_small: HostSmall) -> None:
    with host_small({"act": "garbage"}) as hosted, pytest.raises(MeasurementError, match="does not answer"):
        detect(Address.parse(f"{hosted.url}/invocations"), rows=ONE_ROW)
