"""Calls that servefit makes in fresh processes, made in this one.

A fresh process imports the libraries of the model again, which takes longer than most tests. So tests of results, which
do not need a process that may die, make these calls here: the same functions, with arguments and results that were
pickled, and without limits. Models that are scripts are no models for it: a script changes the process that calls it.
"""

from __future__ import annotations

import pickle
import sys
import traceback
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import servefit.backends.compilation
import servefit.backends.model
import servefit.backends.payload.reading  # noqa: F401 - whatever calls is to be there
from servefit.errors import ServefitError
from servefit.isolation import call_isolated, exit_error

if TYPE_CHECKING:
    import pytest


def call_here(
    function: str,
    /,
    *arguments: Any,
    timeout_s: float,
    memory_bytes: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Call ``function`` ("package.module:name") in this process: see ``call_isolated``. What it raises is told as of a
    process that ended so."""
    if environment:
        raise AssertionError(f"{function} asks for an environment of its own: let it have a process")
    module, _, name = function.partition(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a process of its own prints them, and nobody reads it
            result = getattr(import_module(module), name)(*pickle.loads(pickle.dumps(arguments)))
    except ServefitError:
        raise
    except Exception as error:
        raise exit_error(1, traceback.format_exc().strip(), memory_bytes) from error
    return pickle.loads(pickle.dumps(result))


def call_all_here(patch: pytest.MonkeyPatch) -> None:
    """Make all modules of servefit that call ``call_isolated`` call ``call_here``."""
    for name, module in list(sys.modules.items()):
        if not name.startswith("servefit.") or name == call_isolated.__module__:
            continue
        if getattr(module, "call_isolated", None) is call_isolated:
            patch.setattr(module, "call_isolated", call_here)
