"""Copies of the kept sets, and the command line on them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Finished, forked, forks
from tests.golden.kept import SETS, copied

__all__ = ["forks"]

Servefit = Callable[..., Finished]


@pytest.fixture(scope="module", params=SETS, ids=lambda original: original.name)
def copy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a set, one for all tests of a module."""
    return copied(request.param, tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def servefit(copy: Path, forks: Path) -> Servefit:
    """Carries a command out on the copy."""

    def run(*arguments: str | Path) -> Finished:
        return forked(forks, [str(each) for each in arguments], {**os.environ, "SERVEFIT_HOME": str(copy / "home")})

    return run
