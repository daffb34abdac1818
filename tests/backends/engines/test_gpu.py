"""The reasons why there is no GPU, found without loading a library."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost

from servefit.backends.finding.capabilities import backend
from servefit.backends.finding.registry import backend_names, imported
from servefit.backends.libraries.cuda import cuda_device
from servefit.backends.model import Model
from servefit.backends.types import Target
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", backend_names())
def test_a_backend_without_a_gpu_says_why(name: str) -> None:
    found = backend(name).probe(Target.CUDA)
    assert found.available or found.reason


@pytest.mark.integration
def test_asking_for_a_gpu_where_none_is_imports_no_runtime() -> None:
    if cuda_device().available:
        assert cuda_device().version
        return
    script = """
import sys
from servefit.backends.finding.capabilities import backend
from servefit.backends.types import Target
print(backend("xgboost").probe(Target.CUDA).reason, backend("onnxruntime").probe(Target.CUDA).reason)
print(sorted({"xgboost", "onnxruntime"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    reasons, imported = done.stdout.splitlines()
    assert "GPU" in reasons
    assert imported == "[]"


@pytest.mark.integration
def test_trees_are_not_sent_to_a_gpu_that_onnxruntime_has_no_kernel_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    model = Model.load(xgboost.train({}, xgboost.DMatrix(rows, rows[:, 0] > 9), 2))
    with pytest.raises(CompileFailed, match="no CUDA kernel"):
        imported("onnxruntime").compile(model, Target.CUDA, tmp_path)
