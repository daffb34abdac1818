"""The beginning of a job on a fleet, on a host that measures nothing for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.tiny_model import tiny_model

from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.search.fleet.database import FleetDatabase
from servefit.search.fleet.host import USUAL
from servefit.search.fleet.making import make_fleet
from servefit.search.fleet.registry import Registry
from servefit.search.fleet.running import run_fleet_job
from servefit.search.fleet.selection import Selection
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.job_request import JobRequest
from servefit.search.storage.header import PlanRequest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.fleet.conftest import MakeHost

    from servefit.search.optimizer.progress import Moment

pytestmark = pytest.mark.integration


class Opened(Exception):
    """The model was opened."""


class UntilPublishing(SilentProgress):
    def stage(self, text: str, at: Moment | None = None) -> None:
        if text == "publishing the model":
            raise Opened


@pytest.mark.timeout(100)
def test_the_model_of_a_job_is_opened_while_something_else_measures_on_this_host(
    postgresql_url: str, fleet_host: MakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "coordinator"))
    database = FleetDatabase(make_fleet(postgresql_url, USUAL))
    Registry(database, database.address, USUAL).claim(fleet_host("rack3-07"))
    database.close()
    with measuring_slot("profile of somebody"), pytest.raises(Opened):
        run_fleet_job(
            tiny_model(tmp_path / "model.ubj"),
            None,
            JobRequest(name="fraud", deploy="library", over_http=False),
            Selection(),
            PlanRequest(),
            storage=postgresql_url,
            trust_pickle=False,
            progress=UntilPublishing(),
        )
