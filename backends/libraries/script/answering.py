"""Answers one request with the functions of a script, in SageMaker's order: input_fn, predict_fn, output_fn.

Whatever a function raises is of that request alone. What the script prints goes to stderr: stdout carries results.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from servefit.backends.libraries.script import defaults
from servefit.backends.libraries.script.functions import Functions, import_functions, said
from servefit.backends.model.media_types import media_type
from servefit.backends.model.opaque import OpaqueAnswer, OpaqueRequest, answer_row, request_in
from servefit.backends.model.scripts import SCRIPT
from servefit.errors import BackendError, ScriptFailed

_AS_TEXT = (defaults.JSON, defaults.CSV)
"""The types that input_fn gets as text, as in SageMaker's inference toolkit; all others come as bytes."""

_TYPICAL = defaults.JSON
"""The content type of a request that says none, and what is accepted where nothing is said, or anything: the toolkit's
defaults."""

_BYTES = (bytes, bytearray, memoryview)


class Script:
    """The script of the unpacked archive ``model_dir``, imported, with its model loaded. ``seconds`` are those that its
    functions took for the last request, by name.

    Raises UnsupportedModel as ``import_functions``; BackendError where what loads the model raises.
    """

    def __init__(self, model_dir: Path) -> None:
        self._code = (model_dir / SCRIPT).parent
        self.seconds: dict[str, float] = {}
        to_stderr()
        self._functions: Functions = import_functions(model_dir)
        self._load("pre_model_fn", str(model_dir))
        self._model = self._load("model_fn", str(model_dir))
        self._load("model_warmup_fn", str(model_dir), self._model)

    def _load(self, name: str, *arguments: Any) -> Any:
        function = self._functions.get(name)
        try:
            return None if function is None else function(*arguments)
        except MemoryError:
            raise
        except BaseException as error:
            raise BackendError("script", f"{name} of {SCRIPT} raised {said(error, self._code)}") from error

    def answer_row(self, row: np.ndarray) -> np.ndarray:
        """Return the row of the answer to the request in ``row``. Raises ScriptFailed."""
        answer = self.answer(request_in(row))
        try:
            return answer_row(answer)
        except ValueError as error:
            last = "output_fn" if self._functions.get("transform_fn") is None else "transform_fn"
            raise ScriptFailed(last, f"gave {error}", status=500) from error

    def answer(self, request: OpaqueRequest) -> OpaqueAnswer:
        """Answer ``request``. Raises ScriptFailed, which says which function did not do it and why."""
        content_type = request.content_type or _TYPICAL
        accept = _TYPICAL if media_type(request.accept) in ("", "*/*") else request.accept
        transform = self._functions.get("transform_fn")
        body = _as_sent(request.body, content_type, "input_fn" if transform is None else "transform_fn")
        if transform is not None:
            with self._calling("transform_fn", 500):
                return _answer("transform_fn", transform(self._model, body, content_type, accept), accept)
        with self._calling("input_fn", 400):
            data = self._function("input_fn", defaults.input_fn)(body, content_type)
        with self._calling("predict_fn", 500):
            prediction = self._function("predict_fn", defaults.predict_fn)(data, self._model)
        with self._calling("output_fn", 500):
            return _answer("output_fn", self._function("output_fn", defaults.output_fn)(prediction, accept), accept)

    def _function(self, name: str, default: Callable[..., Any]) -> Callable[..., Any]:
        return self._functions.get(name) or default

    @contextmanager
    def _calling(self, name: str, status: int) -> Iterator[None]:
        """Say of what the block raises that the function of that name raised it, with the HTTP ``status``."""
        began = time.perf_counter()
        try:
            yield
        except (ScriptFailed, MemoryError):
            raise
        except SystemExit as error:
            reason = f"calls sys.exit({error.code!r:.60})"
            raise ScriptFailed(name, reason, status=500, private=True) from error
        except BaseException as error:  # KeyboardInterrupt too: nobody but the script raises it here
            raise ScriptFailed(name, f"raised {said(error, self._code)}", status=status, private=True) from error
        self.seconds[name] = time.perf_counter() - began


def to_stderr() -> None:
    """Have all that is printed in this process go to stderr, by libraries of C too."""
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), 1)
    sys.stdout = sys.stderr


def _as_sent(body: bytes, content_type: str, function: str) -> str | bytes:
    """Return the body as the first ``function`` gets it. Raises ScriptFailed."""
    if media_type(content_type) not in _AS_TEXT:
        return body
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        reason = f"was not called: the body is {content_type} and not UTF-8"
        raise ScriptFailed(function, reason, status=400) from error


def _answer(function: str, output: Any, accept: str) -> OpaqueAnswer:
    """Return the answer that ``output`` is: a body, or a body and its content type. Raises ScriptFailed, and what an
    array or a text raises that cannot be written."""
    content_type = accept
    if isinstance(output, tuple) and len(output) == 2 and isinstance(output[1], str):
        output, content_type = output
    if isinstance(output, np.ndarray):
        output = defaults.encoded(output, content_type)
        if output is None:
            reason = f"gave an array, which is not written as {content_type!r:.80}, only as {defaults.KNOWN}"
            raise ScriptFailed(function, reason, status=406 if content_type == accept else 500)
    if isinstance(output, str):
        output = output.encode()
    if not isinstance(output, _BYTES):
        reason = f"gave a {type(output).__name__}, and not bytes, text or an array"
        raise ScriptFailed(function, reason, status=500)
    return OpaqueAnswer(body=bytes(output), content_type=content_type)
