"""What is said about GPUs: a reason where there is none, and no library loaded to find out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from servefit.backends.cuda import cuda_device
from servefit.backends.registry import backend, backend_names
from servefit.backends.types import Target


@pytest.mark.parametrize("name", backend_names())
def test_a_backend_without_a_gpu_says_why(name: str) -> None:
    found = backend(name).probe(Target.CUDA)
    assert found.available or found.reason


def test_asking_for_a_gpu_where_none_is_imports_no_runtime() -> None:
    if cuda_device().available:
        assert cuda_device().version
        return
    script = """
import sys
from servefit.backends.registry import backend
from servefit.backends.types import Target
print(backend("xgboost").probe(Target.CUDA).reason, backend("onnxruntime").probe(Target.CUDA).reason)
print(sorted({"xgboost", "onnxruntime"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    reasons, imported = done.stdout.splitlines()
    assert "GPU" in reasons
    assert imported == "[]"
