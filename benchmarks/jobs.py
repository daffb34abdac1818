"""Jobs asked for as a user does, by a command with ``--format json``; of one of the benchmarks' models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models.forest_models import benchmark_model

PROFILE, VCPUS = "local-1c", 1
LIMIT = "p95=20ms"


def servefit(*arguments: str, home: Path) -> tuple[int, dict[str, Any]]:
    """Run a command with ``--format json``; return its exit status and the document."""
    done = subprocess.run(
        [sys.executable, "-m", "servefit", *arguments, "--format", "json"],
        env={**os.environ, "SERVEFIT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}


def payload_of(name: str, folder: Path) -> tuple[str, Path, np.ndarray]:
    """Return the model's file, a payload file and its rows."""
    subject = benchmark_model(name)
    rows = subject.rows[:2000]
    path = folder / f"{name}.npy"
    np.save(path, rows)
    return str(subject.path), path, rows


def recommended(name: str, rate_per_s: float, home: Path, *, job: str, budget: str, seed: int = 0) -> dict[str, Any]:
    """Ask what to deploy for a model on one CPU; return the document with the command's ``exit_status``."""
    model, payload, _ = payload_of(name, home)
    status, document = servefit(
        *("recommend", model, "--payload", str(payload), "--trust-pickle", "--sla", LIMIT, "--rate", f"{rate_per_s}/s"),
        *("--profile", PROFILE, "--budget", budget, "--seed", str(seed), "--name", job, "--quiet"),
        home=home,
    )
    return {"exit_status": status, **document}
