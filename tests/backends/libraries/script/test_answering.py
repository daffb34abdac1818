"""A script is called as SageMaker's containers call it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.scripts import ECHO, MEANS, WORDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.libraries.script.conftest import Ask

pytestmark = pytest.mark.integration

MODEL = """
class Model:
    def predict(self, data):
        return data * 2

def model_fn(model_dir):
    return Model()
"""


def test_the_four_functions_are_called_one_after_the_other(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "offset.txt").write_text("1000")
    told, body = ask(MEANS, "aaa", "image/jpeg")
    assert (told, json.loads(body)) == ("application/json", {"mean": 1000.0 + ord("a")})


def test_a_function_with_one_argument_more_gets_the_context(ask: Ask) -> None:
    assert ask(WORDS, "one three", "text/plain") == ("application/json", "[3, 5]")


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "answered"),
    [
        ("[[1, 2], [3, 4]]", "application/json", "application/json", "[[2, 4], [6, 8]]"),
        ("1,2\n3,4\n", "text/csv; charset=utf-8", "text/csv", "2.0,4.0\n6.0,8.0\n"),
        ("[1, 2]", "", "*/*", "[2, 4]"),
    ],
)
def test_what_a_script_leaves_out_has_a_default(
    body: str, content_type: str, accept: str, answered: str, ask: Ask
) -> None:
    told, text = ask(MODEL, body, content_type, accept)
    assert (told, text) == (accept.replace("*/*", "application/json"), answered)


def test_text_in_csv_is_text_and_no_number_that_is_missing(ask: Ask) -> None:
    assert ask(MODEL.replace("data * 2", "data"), "a sentence", "text/csv")[1] == '"a sentence"'
    assert ask(MODEL.replace("data * 2", "data"), "a,b\nc,d\n", "text/csv")[1] == '[["a", "b"], ["c", "d"]]'
    assert ask(MODEL, "1,\nnan,3\n", "text/csv")[1] == "[[2.0, NaN], [NaN, 6.0]]"
    assert ask(MODEL, "nan,3\n", "text/csv")[1] == "[NaN, 6.0]"


def test_arrays_anywhere_in_a_prediction_are_written_as_json(ask: Ask) -> None:
    told = ask(MODEL.replace("data * 2", '{"scores": data, "n": [data.sum()]}'), "[1, 2]")
    assert told == ("application/json", '{"scores": [1, 2], "n": [3]}')


def test_what_comes_before_and_after_loading_the_model_is_called(ask: Ask) -> None:
    script = (
        "called = []\n"
        "def pre_model_fn(model_dir):\n    called.append('before')\n"
        "def model_fn(model_dir):\n    called.append('model_fn')\n    return called\n"
        "def model_warmup_fn(model_dir, model):\n    model.append('after')\n"
        "def transform_fn(model, body, content_type, accept):\n    return ' '.join(model)\n"
    )
    assert ask(script)[1] == "before model_fn after"
    told, text = ask(script.replace("model.append('after')", "raise ValueError('cold')"))
    assert (told, "model_warmup_fn of code/inference.py raised ValueError: cold (line 8" in text) == ("None", True)


def test_arrays_of_numpy_are_a_default_too(ask: Ask) -> None:
    script = MODEL + (
        "import io, numpy as np\n"
        "def input_fn(body, content_type):\n"
        "    return np.ones(3)\n"
        "def output_fn(prediction, accept):\n"
        "    return prediction\n"
    )
    told, text = ask(script, "x", "text/plain", "application/x-npy")
    assert told == "application/x-npy"
    assert text.startswith("\x93NUMPY")


def test_json_and_csv_come_as_text_and_all_else_as_bytes(ask: Ask) -> None:
    script = ECHO.replace("return body", "return type(body).__name__")
    assert ask(script, "{}", "application/json")[1] == "str"
    assert ask(script, "a,b", "text/csv")[1] == "str"
    assert ask(script, "abc", "text/plain")[1] == "bytes"


def test_bytes_of_any_value_go_in_and_out(ask: Ask) -> None:
    every = "".join(map(chr, range(1, 256)))
    assert ask(ECHO, every, "application/octet-stream", "image/png") == ("image/png", every)


def test_what_is_printed_is_not_on_stdout(ask: Ask) -> None:
    script = "import os\nprint('imported')\nos.system('echo from a child')\n" + ECHO.replace(
        "return body", "print('called'); return 'x'"
    )
    assert ask(script)[1] == "x"  # the fixture looks at stdout


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        (MEANS, "400", "input_fn raised ValueError: no text/csv here (line 12 of inference.py)"),
        (ECHO.replace("return body", "return body.missing"), "500", "transform_fn raised AttributeError"),
        (ECHO.replace("return body", "return {'a': 1}"), "500", "gave a dict, and not bytes, text or an array"),
        (ECHO.replace("return body", "return None"), "500", "gave a NoneType"),
        pytest.param(
            ECHO.replace("return body", "return 'x', 'text/a\\r\\nset-cookie: a'"),
            "500",
            "gave 'text/a\\r\\nset-cookie: a', which is no line of ASCII",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            ECHO.replace("return body", "import sys; sys.exit(3)"),
            "500",
            "transform_fn calls sys.exit(3)",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            ECHO.replace("return body", "return b'0' * 2**23"),
            "500",
            "8,388,608 bytes, and 8,388,",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            ECHO.replace("return body", "return '\\ud800'"),
            "500",
            "transform_fn raised UnicodeEncodeError",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "import numpy as np\n" + ECHO.replace("return body", "return np.array([b'x', None])"),
            "500",
            "transform_fn raised TypeError: a bytes is not written as JSON",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "import numpy as np\n" + ECHO.replace("return body", "return np.ones(3), 'image/png'"),
            "500",
            "transform_fn gave an array, which is not written as 'image/png', only as application/json, text/csv",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            ECHO.replace("return body", "raise KeyboardInterrupt"),
            "500",
            "transform_fn raised KeyboardInterrupt",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            ECHO.replace("return body", "error = ValueError('why'); error.add_note('more'); raise error"),
            "500",
            "transform_fn raised ValueError: why (line 4",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            ECHO.replace("return None", "import sys; sys.exit(3)"),
            "None",
            "model_fn of code/inference.py raised SystemExit",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            ECHO.replace("return None", "raise OSError('no weights')"),
            "None",
            "raised OSError: no weights (line 2",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "def model_fn(model_dir):\n    return None\n",
            "500",
            "a NoneType, has no predict",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_what_a_script_does_wrong_is_said_with_the_status_of_the_answer(
    script: str, status: str, said: str, ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "offset.txt").write_text("0")
    told, text = ask(script, "1,2", "text/csv")
    assert told == status
    assert said in text


def test_a_type_that_no_default_reads_is_named(ask: Ask) -> None:
    told, text = ask(MODEL, "x", "image/png")
    assert told == "415"
    assert "without it 'image/png' is not read, only application/json, text/csv and application/x-npy" in text
    assert ask(MODEL, "[1]", "application/json", "image/png")[0] == "406"


def test_text_that_is_no_utf_8_is_the_clients_mistake(ask: Ask) -> None:
    told, text = ask(ECHO, "\xff\xfe", "application/json")
    assert (told, text) == ("400", "script: transform_fn was not called: the body is application/json and not UTF-8")
