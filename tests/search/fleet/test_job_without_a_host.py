"""A job whose hosts answer something that does not fit, and goes on without it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.search.fleet.conftest import in_thread
from tests.search.fleet.forged_results import timing

from servefit.search.fleet.classifying import classify
from servefit.search.fleet.orders import Answer
from servefit.search.optimizer.clock import Clock

if TYPE_CHECKING:
    from tests.search.fleet.conftest import MakeHost, MakeJob

pytestmark = pytest.mark.integration


def test_a_host_whose_answer_is_refused_is_named_and_the_others_are_classified(
    open_job: MakeJob, fleet_host: MakeHost
) -> None:
    honest, forger = "rack3-07", "rack3-08"
    job = open_job(honest, forger)
    registry, orders = job.dispatcher.registry, job.dispatcher.orders
    claims = {name: registry.claim(fleet_host(name)) for name in (honest, forger)}
    facts = {state.host.name: state.host.facts for state in registry.hosts()}
    model = job.header.model
    subjects = {honest: f"{model.digest}/{model.reference}", forger: "made/up"}
    clock = Clock.of(job.header.request)
    with in_thread(lambda: classify(job.header.hosts, facts, job.header, job.dispatcher, clock)) as found:
        while not found:
            for name, claim in claims.items():
                for token in orders.open_of(name, begun=False):
                    orders.begin(token, claim.token)
                    orders.answer(token, claim.token, Answer(result=timing(subjects[name]), model_digest=model.digest))
            time.sleep(0.05)
    classified: Any = found[0]
    assert not isinstance(classified, BaseException), classified
    hosts, classes = classified
    assert [host.name for host in hosts] == [honest]
    (told,) = [remark for remark in classes.remarks if "refused" in remark]
    assert f"the answer of host {forger} to order" in told
    assert "is refused: its subject is made/up" in told
