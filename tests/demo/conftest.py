"""One trained fraud model for all tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servefit.demo import FraudFacts, fraud_facts, fraud_model, fraud_payload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as environment:
        home = tmp_path_factory.mktemp("servefit-home")
        environment.setenv("SERVEFIT_HOME", str(home))
        yield home


@pytest.fixture(scope="session")
def messages() -> list[str]:
    """What ``progress`` heard while the model was made."""
    return []


@pytest.fixture(scope="session")
def model_file(state_home: Path, messages: list[str]) -> Path:
    return fraud_model(messages.append)


@pytest.fixture(scope="session")
def payload_file(model_file: Path) -> Path:
    return fraud_payload()


@pytest.fixture(scope="session")
def facts(model_file: Path) -> FraudFacts:
    return fraud_facts()
