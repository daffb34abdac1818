"""Finding backends by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from servefit.backends.finding.capabilities import backend
from servefit.backends.finding.registry import BUILT_IN, backend_names
from servefit.errors import SpecError

Install = Callable[..., None]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_backend_is_found_by_its_name(name: str) -> None:
    assert backend(name).name == name


def test_an_unknown_name_is_refused_with_the_closest_one() -> None:
    with pytest.raises(SpecError, match="did you mean 'xgboost'") as raised:
        backend("xgbost")
    assert raised.value.field == "backend"


def test_another_package_offers_a_backend_through_an_entry_point(install: Install) -> None:
    install("flatforest", "flatforest_backend:Flat", "class Flat:\n    name = 'flatforest'\n")
    assert backend_names() == (*BUILT_IN, "flatforest")
    assert backend("flatforest").name == "flatforest"


def test_another_package_cannot_take_over_a_built_in_name(install: Install) -> None:
    install("treelite", "other_treelite:Other", "class Other:\n    name = 'other'\n")
    assert backend_names() == tuple(BUILT_IN)
    assert backend("treelite").name == "treelite"


def test_a_name_that_two_packages_offer_is_not_available_and_both_are_named(install: Install) -> None:
    for package in ("left", "right"):
        install("flat", f"{package}_flat:Flat", "class Flat:\n    name = 'flat'\n", package=package)
    refused = backend("flat").probe()
    assert not refused.available
    assert refused.reason == "is offered by left 1.0 and right 1.0"
    assert refused.remedy == "uninstall all but one of them"


@pytest.mark.integration
def test_finding_a_backend_imports_no_runtime() -> None:
    script = """
import sys
from servefit.backends.finding.capabilities import backend
from servefit.backends.finding.registry import backend_names
for name in backend_names():
    backend(name)
print(sorted({"xgboost", "lightgbm", "sklearn", "onnxruntime", "treelite", "tl2cgen", "daal4py"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
