"""The names of models: in URLs, jobs and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from servefit.backends.model.names import name_after


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("timer_v0.1.onnx", "timer-v0-1"),
        (Path("models/timer_v1.4.onnx"), "timer-v1-4"),
        ("timer_v1.5.onnx", "timer-v1-5"),
        ("model.tar.gz", "model"),
        ("fraud.v2.tar.gz", "fraud-v2"),
        ("xgboost-model", "xgboost-model"),
        ("encoder-v1.5", "encoder-v1-5"),
        ("model.ubj", "model"),
        (".hidden", "hidden"),
        ("...", "model"),
    ],
)
def test_a_model_is_called_after_its_file_with_its_version_and_without_its_kind(source: str | Path, name: str) -> None:
    assert name_after(source) == name


def test_an_object_is_called_after_its_class() -> None:
    assert name_after(ValueError()) == "ValueError"
