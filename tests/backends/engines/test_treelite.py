"""Treelite in a process that has other libraries too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xgboost

from servefit.backends.compilation import compile_model
from servefit.backends.model import Model

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

PROGRAM = """
import os
import sys
os.sched_setaffinity(0, range(os.cpu_count()))  # Treelite refuses more threads than there are CPUs
import numpy as np
import torch
torch.set_num_threads(1)
from pathlib import Path
from servefit.backends.finding.registry import imported
from servefit.backends.types import Artifact, Settings, Target
import json
folder, facts = Path(sys.argv[1]), json.loads(sys.argv[2])
artifact = Artifact(
    backend="treelite", backend_version="1", model_digest="", target=Target.CPU, folder=folder, facts=facts
)
rows = np.zeros((64, 4), np.float32)
one, two = (imported("treelite").load(artifact, Settings(threads=threads)) for threads in (1, 2))
assert np.array_equal(one.predict(rows), two.predict(rows))
"""


def test_it_computes_on_as_many_threads_as_it_was_told_beside_a_pytorch_that_computes_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    rows = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, rows[:, 0]), num_boost_round=3)
    artifact = compile_model(Model.load(booster), "treelite").artifact
    facts = json.dumps(dict(artifact.facts))
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(artifact.folder), facts], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
