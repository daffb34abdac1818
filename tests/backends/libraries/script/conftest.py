"""Scripts that are imported in a child process, as everywhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_ASK = """
import sys
from pathlib import Path
from servefit.backends.model.opaque import OpaqueRequest, answer_in, request_row
from servefit.backends.libraries.script.answering import Script
from servefit.errors import ServefitError
body, content_type, accept = sys.argv[2:]
try:
    request = OpaqueRequest(body=body.encode("latin-1"), content_type=content_type, accept=accept)
    answer = answer_in(Script(Path(sys.argv[1])).answer_row(request_row(request)))
    said = f"{answer.content_type}|{answer.body.decode('latin-1')}"
except ServefitError as error:
    said = f"{getattr(error, 'status', None)}|{error}"
Path(sys.argv[1], "said").write_bytes(said.encode())
"""

Ask = Callable[..., tuple[str, str]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask a script, and give the content type and the body of its answer; or the status of an error and its text."""

    def asked(script: str, body: str = "", content_type: str = "", accept: str = "") -> tuple[str, str]:
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / "inference.py").write_text(script)
        command = [sys.executable, "-c", _ASK, str(tmp_path), body, content_type, accept]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not ended.stdout
        told, _, text = (tmp_path / "said").read_bytes().decode().partition("|")
        return told, text

    return asked
