"""Rows that are drawn for a model take bounded memory, however wide the model says that they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from servefit.backends.checking.verification import drawn_rows
from servefit.backends.model import Format, Model, Signature, Task, width
from servefit.backends.model.width import MAX_FEATURES, affordable_rows
from servefit.backends.payload.synthetic import random_payload, synthetic_payload


@pytest.mark.parametrize(("features", "rows"), [(30, 1000), (2**20, 64), (MAX_FEATURES, 8), (2**40, 1)])
def test_as_many_rows_are_drawn_as_are_wanted_or_fit(features: int, rows: int) -> None:
    assert affordable_rows(1000, features) == rows


def test_wide_models_get_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(width, "MAX_DRAWN_BYTES", 20 * 4 * 100)
    wide = Model(
        source="model",
        file=Path("model.onnx"),
        format=Format.ONNX,
        digest="",
        size_bytes=0,
        signature=Signature(task=Task.TENSOR, features=100, outputs=1),
    )
    assert synthetic_payload(wide).rows.shape == (20, 100)
    assert random_payload(100).rows.shape == (20, 100)
    assert drawn_rows(wide).rows.shape == (20, 100)
