"""The request that a bundle's README shows is one that its endpoint answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.onnx_models import encoder, texts
from tests.serving.asked_model import AskedModel

from servefit.search.deployment.bundle.readme import example_request

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("asked_once")]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


def test_a_network_whose_requests_have_sizes_is_asked_by_the_names_of_its_inputs(tmp_path: Path) -> None:
    model = AskedModel(texts(tmp_path / "texts.onnx"))
    content_type, body = example_request(model.config.signature)
    assert content_type == "application/json"
    assert json.loads(body) == {"instances": [{"input_ids": [0], "attention_mask": [0]}]}
    assert len(model.predictions(model.invoke(body.encode(), content_type))) == 1


def test_every_other_model_is_asked_with_a_row(tmp_path: Path) -> None:
    model = AskedModel(encoder(tmp_path / "encoder.onnx"))
    content_type, body = example_request(model.config.signature)
    assert content_type == "text/csv"
    assert len(model.predictions(model.invoke(body.encode(), content_type))) == 1
