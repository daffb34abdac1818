"""A model of PyTorch on the command line, from its file to a recommendation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.backends.engines.torch.modules import EXAMPLES, feeds, mlp, save_program, save_script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit

pytestmark = pytest.mark.integration

QUICK = ("--duration", "1s", "--rate", "50/s", "--allow-noise", "--format", "json")
ALONE = ("--profile", "local-1c", "--no-http", "--allow-noise", "--batch", "1", "--format", "json")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.npz"
    arrays: dict[str, Any] = feeds("mlp", 20)
    np.savez(path, **arrays)
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    make, example, free = EXAMPLES["mlp"]
    return save_program(tmp_path / "model.pt2", make(), example, free)


@pytest.mark.thorough
def test_a_program_is_refused_where_it_is_not_trusted(servefit: Servefit, program: Path, rows: Path) -> None:
    refused = servefit("recommend", program, "--payload", rows)
    assert refused.status == 2
    assert "--trust-pickle" in refused.stderr


@pytest.mark.thorough
def test_a_program_is_recommended_where_it_is_trusted(servefit: Servefit, program: Path, rows: Path) -> None:
    asked = ("--sla", "p95=500ms", "--backend", "torch", "--max-tests", "1", "--budget", "4m", *ALONE)
    ended = servefit("recommend", program, "--payload", rows, *asked, "--trust-pickle", "--name", "program")
    assert ended.status in (0, 3), ended.stderr  # how sure a verdict is, is for the machine to say
    assert [(each["backend"], each["status"]) for each in ended.document["compilation"]] == [("torch", "COMPLETED")]


@pytest.mark.thorough
def test_the_shapes_of_torchscript_are_those_of_the_payload(servefit: Servefit, rows: Path, tmp_path: Path) -> None:
    model = save_script(tmp_path / "model.pt", mlp(), EXAMPLES["mlp"][1][0])
    without = servefit("profile", model, "--trust-pickle", *QUICK)
    assert without.status == 2
    assert "give a payload in NPZ" in " ".join(without.stderr.split())
    ended = servefit("profile", model, "--trust-pickle", "--payload", rows, *QUICK)
    assert ended.status == 0, ended.stderr
    assert "input=float32[rows,6]" in " ".join(ended.stderr.split())
