"""The notebook in examples/sagemaker, as it is kept; tests/aws/test_notebook.py runs it."""

from __future__ import annotations

import json
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "examples/sagemaker/inference_recommender.ipynb"


def test_the_notebook_is_kept_without_outputs_and_names_nothing_of_this_machine() -> None:
    text = NOTEBOOK.read_text()
    cells = json.loads(text)["cells"]
    assert cells
    for cell in cells:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert "/home/" not in text
    assert "localhost" not in text
    assert "servefit" not in "".join(line for cell in cells if cell["cell_type"] == "code" for line in cell["source"])
