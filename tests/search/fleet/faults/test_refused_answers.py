"""An answer that the database refuses for good costs its own order, and not its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.search.fleet.conftest import eventually

from servefit.errors import AgentLost
from servefit.search.fleet.compiling import Compile, Compiled

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.conftest import Server
    from tests.search.fleet.conftest import MakeJob, StartAgent

pytestmark = [pytest.mark.timed, pytest.mark.thorough]


def test_an_answer_that_is_refused_for_good_is_set_aside_and_told_of_and_the_host_goes_on(
    start_agent: StartAgent, open_job: MakeJob, postgresql: Server, tmp_path: Path
) -> None:
    agent = start_agent("rack3-07")
    job = open_job("rack3-07")
    with postgresql.connect() as connection:
        connection.execute("ALTER TABLE servefit_orders ADD CONSTRAINT terse CHECK (answer NOT LIKE '%throughput%')")
    order = job.order("rack3-07")
    with pytest.raises(AgentLost, match="the database refuses what its agent answers"):
        job.dispatcher.ask(order)
    assert isinstance(job.dispatcher.ask(job.order("rack3-07", Compile())).result, Compiled)
    spool = tmp_path / "rack3-07" / "fleet" / "rack3-07"
    (set_aside,) = (spool / "refused").iterdir()
    assert set_aside.stem == order.token
    # The other answer is in the database before its agent takes note of it.
    eventually(lambda: not list(spool.glob("*.json")))
    assert str(set_aside) in agent.said()
    assert 'violates check constraint "terse"' in agent.said()
