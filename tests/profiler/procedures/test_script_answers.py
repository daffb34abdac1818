"""The numbers in what scripts answer, beside those of the file."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from servefit.backends.model.opaque import OpaqueAnswer
from servefit.profiler.procedures.script_answers import largest_difference
from servefit.profiler.record.script_cost import ScriptCost, answered

FILE = OpaqueAnswer(body=b'{"predictions": [0.25, 0.5]}', content_type="application/json")


def npy(values: object) -> bytes:
    content = io.BytesIO()
    np.save(content, np.asarray(values))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"[0.25, 0.625]"),
        ("application/json; charset=utf-8", b'{"scores": [[0.25], [0.625]]}'),
        ("application/json", b'[{"score": 0.25}, {"score": 0.625}]'),
        ("application/jsonlines", b'{"prediction": 0.25}\n{"prediction": 0.625}\n'),
        ("text/csv", b"0.25\n0.625\n"),
        ("text/csv", b"0.25,0.625"),
        ("application/x-npy", npy([[0.25], [0.625]])),
    ],
)
def test_numbers_are_found_whatever_they_are_called(content_type: str, body: bytes) -> None:
    script = OpaqueAnswer(body=body, content_type=content_type)
    assert largest_difference([(FILE, FILE), (script, FILE)]) == (0.125, None)


def test_a_single_number_is_one() -> None:
    one, other = (OpaqueAnswer(body=body, content_type="text/csv") for body in (b"0.25", b"nan"))
    assert largest_difference([(one, one), (other, other)]) == (0, None)
    assert largest_difference([(one, other)])[0] is None


@pytest.mark.parametrize(
    ("content_type", "body", "why"),
    [
        ("application/json", b"[0.25]", r"numbers of shape \(\), and the file of \(2,\)"),
        ("application/json", b'["yes", "no"]', "does not hold numbers alone"),
        ("application/json", b'{"label": 1, "score": 0.25}', "does not hold numbers alone"),
        ("application/json", b"[0.25, ", "does not hold numbers alone"),
        ("application/json", b"[[0.25], [1, 2]]", "does not hold numbers alone"),
        ("application/json", b"[0.25, null]", "one has a number where the other has none"),
        ("text/csv", b"yes,no", "does not hold numbers alone"),
        ("application/x-npy", npy([0.25, 0.5])[:20], "does not hold numbers alone"),
        ("application/x-npy", b"", "does not hold numbers alone"),
        ("image/png", b"", "is image/png, which is not read as numbers"),
        ("", b"1", "of no type"),
    ],
)
def test_what_cannot_be_compared_has_a_reason(content_type: str, body: bytes, why: str) -> None:
    difference, reason = largest_difference([(OpaqueAnswer(body=body, content_type=content_type), FILE)])
    assert difference is None
    assert reason is not None
    assert re.search(why, reason)


def test_a_script_that_is_quicker_costs_nothing() -> None:
    cost = ScriptCost(file="model.json", script_s=0.001, file_s=0.002, backend="xgboost", requests=2, rows=1)
    assert cost.text.endswith("by xgboost: 2 ms; the script costs nothing of it")


def test_what_an_endpoint_of_the_file_does_too_is_no_cost_of_the_script() -> None:
    cost = ScriptCost(file="a.ubj", script_s=9e-4, file_s=1e-4, io_s=2e-4, backend="forest", requests=2, rows=1)
    assert cost.text.endswith("by forest: 100 us, and 200 us to read and answer it; the script costs 600 us of it")


def test_only_warnings_about_files_beside_a_script_are_answered() -> None:
    warnings = ("model.json beside the script is a model that servefit serves by itself: without it", "another")
    assert answered(warnings, None) == warnings
    assert answered(warnings, ScriptCost(file="model.json", script_s=2.0, file_s=1.0)) == ("another",)
    assert answered(warnings, ScriptCost(file="model.json", reason="it is a photo")) == (
        "model.json beside the script is a model that servefit serves by itself: without it; here it was not: it is a "
        "photo",
        "another",
    )
