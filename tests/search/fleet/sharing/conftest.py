"""Jobs of models that may share hosts, on this host as if it had more CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.search.fleet.sharing.made_pairs import Jobs

if TYPE_CHECKING:
    from tests.search.conftest import MakeSummary, MakeTrial
    from tests.search.fleet.conftest import MakeHost


@pytest.fixture
def jobs(fleet_host: MakeHost, trial: MakeTrial, summary: MakeSummary) -> Jobs:
    return Jobs(fleet_host("any").host, trial, summary)
