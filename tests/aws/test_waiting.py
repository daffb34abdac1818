"""A job that waits until something else on the machine has measured says so in its log."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.tiny_model import ROWS, tiny_model

from servefit.aws.jobs.files import JobFiles
from servefit.aws.jobs.plan import Measured, Plan

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.integration

HOLDS_THE_SLOT = """
import sys
from servefit.profiler.machine.slot.holding import measuring_slot
with measuring_slot("job of somebody"):
    print("held", flush=True)
    sys.stdin.read()
"""


def lines_of(files: JobFiles, *, until: str) -> list[str]:
    """The lines of a journal, once there is one that has these words."""
    ends_s = time.monotonic() + 60
    while time.monotonic() < ends_s:
        found = [text for _, text in files.journal.read()[0]]
        if any(until in line for line in found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"no line has {until!r}: {found}")


@pytest.mark.thorough
def test_a_job_that_waits_for_the_measuring_slot_says_for_whom_and_goes_on_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "home"))
    payload = tmp_path / "payload.csv"
    np.savetxt(payload, ROWS, delimiter=",", fmt="%g")
    files = JobFiles(tmp_path / "waits")
    files.write_plan(
        Plan(
            name="waits",
            model=str(tiny_model(tmp_path / "model.ubj")),
            model_url="s3://models/model.ubj",
            payload=str(payload),
            payload_url="s3://models/payload.csv",
            measured=(Measured(instance_type="ml.c5.large", profile="local-1c"),),
            asked={"InputConfig": {}},
        )
    )
    somebody = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_SLOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert somebody.stdout is not None
    assert somebody.stdin is not None
    assert somebody.stdout.readline() == "held\n"
    job = subprocess.Popen([sys.executable, "-m", "servefit.aws.jobs.process", str(files.folder)])
    try:
        (line,) = [line for line in lines_of(files, until="waiting ") if "waiting " in line]
        assert line.startswith(f"waiting until job of somebody (process {somebody.pid}, since ")
        somebody.stdin.close()
        lines_of(files, until="waited for ")
    finally:
        job.send_signal(signal.SIGTERM)
        somebody.stdin.close()
        for process in (job, somebody):
            process.wait(60)
        somebody.stdout.close()
