"""A text that is longer than a real model has positions, over HTTP."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.real_models.files import real_file
from tests.serving.asked_model import AskedModel
from tests.serving.conftest import Running, launch

pytestmark = pytest.mark.integration

POSITIONS = 512
JSON = {"content-type": "application/json"}


@pytest.fixture
def minilm(tmp_path: Path) -> Iterator[Running]:
    real = real_file("minilm")
    config = replace(AskedModel(real.path, inputs=real.constants).config, port=0)
    process, ready = launch(config, tmp_path)
    try:
        line = os.read(ready, 4096)
        assert line, (tmp_path / "stderr").read_text()
        told = json.loads(line)
        yield Running(process=process, port=told["port"], pids=told["pids"], printed=tmp_path / "stderr")
    finally:
        os.close(ready)
        process.kill()
        process.wait()


def text(length: int) -> bytes:
    words = np.full(length, 2000)
    names = ("input_ids", "attention_mask", "token_type_ids")
    request = dict(
        zip(names, (words.tolist(), np.ones_like(words).tolist(), np.zeros_like(words).tolist()), strict=True)
    )
    return json.dumps({"instances": [request]}).encode()


@pytest.mark.thorough
def test_a_text_beyond_the_position_table_is_answered_400_with_the_models_own_error(minilm: Running) -> None:
    for length, status in ((POSITIONS, 200), (POSITIONS + 1, 400), (POSITIONS, 200)):
        answer = minilm.ask("POST", "/invocations", text(length), JSON)
        assert answer.status == status, answer.body
        if status == 400:
            reason = json.loads(answer.body)["error"]
            assert reason.startswith("the model refuses these rows: ")
            assert f"{POSITIONS} by {POSITIONS + 1}" in reason
    assert minilm.metric("servefit_worker_restarts_total") == 0
