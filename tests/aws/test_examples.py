"""The examples in docstrings of the API's modules."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

pytestmark = pytest.mark.integration

MODULES = (
    "endpoints.commands",
    "s3.crc",
    "s3.places",
    "services.call",
    "services.sagemaker.instance_types",
    "state.resources",
    "wire.errors",
)


@pytest.mark.parametrize("name", MODULES)
def test_an_example_does_what_it_says(name: str) -> None:
    found = doctest.testmod(import_module(f"servefit.aws.{name}"))
    assert found.attempted
    assert not found.failed
