"""Installed packages that offer traffic shapes."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from tests.installed_packages import write_package

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_NUMBERS = count()
SHAPE = """
import math, sys
from dataclasses import dataclass
import numpy as np
from servefit.profiler.arrivals.contract import Arrivals

@dataclass(frozen=True, kw_only=True)
class Shape(Arrivals):
    name = "{name}"
    {more}
    {times}
    {describe}
"""
EVENLY = (
    "def times_ns(self, *, rate_per_s, duration_s, seed): "
    "return (np.arange(int(rate_per_s * duration_s)) * (1e9 / rate_per_s)).astype(np.int64)"
)
DESCRIBE = "def describe(self): return 'all at once'"


def shape_source(name: str, *, more: str = "", times: str = EVENLY, describe: str = DESCRIBE) -> str:
    """Return the source of a module with a class called Shape; ``more`` is a line of its body."""
    return SHAPE.format(name=name, more=more, times=times, describe=describe)


def install_shape(folder: Path, patch: pytest.MonkeyPatch, package: str, name: str, source: str) -> None:
    """Make an installed package, version 1.0, that offers the class Shape of ``source`` under ``name``."""
    place, module = folder / package, f"{package}_shapes_{next(_NUMBERS)}"
    write_package(place, package, group="servefit.arrivals", name=name, target=f"{module}:Shape", source=source)
    patch.syspath_prepend(str(place))
