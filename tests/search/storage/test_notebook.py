"""Libraries that are loaded with a job show nothing in a notebook."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

NOTEBOOK = """
import sys, warnings

# What tqdm, which Optuna imports, takes for a notebook, and one without ipywidgets.
sys.modules["ipykernel.zmqshell"] = sys.modules["IPython"] = type(sys)("IPython")
sys.modules["IPython"].get_ipython = lambda: None
sys.modules["ipywidgets"] = None
warnings.simplefilter("always")
"""

FIRST_USES = {
    "a job is opened": """
import servefit
try:
    servefit.load_job("none")
except servefit.errors.SpecError:
    pass
""",
    "a job is made in a database that is there": """
from servefit.search.storage.jobs import JobStore
JobStore.open().close()
with JobStore.open() as store:
    store.database.storage
""",
    "proposals are made": """
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.parzen import ParzenEstimator
ParzenEstimator([Configuration(vcpus=1, backend="treelite")], objectives=1, seed=0)
""",
}


def shown(program: str, home: Path) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", NOTEBOOK + program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SERVEFIT_HOME": str(home)},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def test_optuna_alone_asks_for_widgets(tmp_path: Path) -> None:
    assert "IProgress not found" in shown("import optuna\n", tmp_path)


@pytest.mark.thorough
@pytest.mark.parametrize("first", FIRST_USES)
def test_widgets_for_bars_that_nobody_sees_are_not_asked_for(first: str, tmp_path: Path) -> None:
    assert "IProgress" not in shown(FIRST_USES[first], tmp_path)


@pytest.mark.thorough
def test_whoever_needs_widgets_is_told_still(tmp_path: Path) -> None:
    needed = "warnings.warn('IProgress not found, and needed here')\n"
    assert "and needed here" in shown(FIRST_USES["a job is opened"] + needed, tmp_path)
