"""The variables that ``servefit api`` prints, for a person to copy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.mark.thorough
def test_each_is_one_line_also_in_a_narrow_terminal(tmp_path: Path) -> None:
    home = tmp_path / "a folder with a name that is longer than the line of a narrow terminal"
    terminal, of_process = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "servefit", "api", "--port", "0"],
        env={**os.environ, "SERVEFIT_HOME": str(home), "COLUMNS": "40"},
        stdin=subprocess.DEVNULL,
        stdout=of_process,
    )
    os.close(of_process)
    shown = b""
    while shown.count(b"\n") < 5:
        shown += os.read(terminal, 1024)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    os.close(terminal)
    lines = shown.decode().splitlines()
    assert [line.partition("=")[0] for line in lines] == [
        "export AWS_ENDPOINT_URL",
        "export AWS_DEFAULT_REGION",
        "export AWS_ACCESS_KEY_ID",
        "export AWS_SECRET_ACCESS_KEY",
        "export SAGEMAKER_USER_CONFIG_OVERRIDE",
    ]
    assert lines[-1].endswith(f"='{home}/api/sagemaker.yaml'")
