"""Which models fit side by side on which hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.search.fleet.sharing.made_pairs import P95, Jobs, host_of

from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.cpus import LogicalCpu
from servefit.profiler.machine.host import describe_host
from servefit.search.fleet.sharing.cpu_sets import Need, cpu_sets, why_not
from servefit.search.fleet.sharing.fitting import MAX_TURN_S, MIN_TURN_S, ROUNDS, fitting_pairs, turn_of

if TYPE_CHECKING:
    from servefit.search.request.job_request import Deployed

HERE = describe_host()


def pairs_of(*jobs: Any) -> Any:
    hosts = tuple(each.name for each in jobs[0].header.hosts)
    return fitting_pairs({f"model-{job.name}": job for job in jobs}, {"epyc": hosts})


def test_models_that_leave_each_other_cpus_fit_at_the_rates_that_were_confirmed(jobs: Jobs) -> None:
    (pair,), left_out = pairs_of(jobs.job("fraud"), jobs.job("churn"))
    assert left_out == ()
    assert pair.models == ("model-fraud", "model-churn")
    assert pair.hosts == ("epyc-0", "epyc-1", "epyc-2")
    assert pair.offer.rates_per_s == (1000.0, 1000.0)
    assert [side.job for side in pair.asked.sides] == ["fraud", "churn"]
    assert pair.asked.rounds == ROUNDS >= 3


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"vcpus": 5}, "their 4 and 5 vCPUs do not fit side by side on its 8 CPUs"),
        ({"vcpus": 4, "deploy": "endpoint"}, "their 4 and 4 vCPUs leave too few of its 8 CPUs to their load clients"),
        ({"memory_gib": 60}, "they need 68 GiB of memory, and it has 64 GiB"),
    ],
)
def test_models_that_do_not_fit_are_told_with_the_reason(jobs: Jobs, changed: dict[str, Any], reason: str) -> None:
    fitting, (left,) = pairs_of(jobs.job("fraud"), jobs.job("churn", **changed))
    assert fitting == ()
    assert (left.host_class, left.models, left.reason) == ("epyc", ("model-fraud", "model-churn"), reason)


def test_hosts_without_cpus_to_spare_are_shared_by_nobody(jobs: Jobs) -> None:
    jobs.cpus = 4
    fitting, left_out = pairs_of(jobs.job("fraud"), jobs.job("churn"), jobs.job("price"))
    assert fitting == ()
    assert len(left_out) == 3


def test_a_class_on_which_a_model_was_not_confirmed_is_no_pair(jobs: Jobs) -> None:
    held = jobs.job("fraud")
    jobs.verdict = "UNDECIDED"
    assert pairs_of(held, jobs.job("churn")) == ((), ())


def test_pairs_that_make_no_sense_are_refused(jobs: Jobs) -> None:
    fraud = jobs.job("fraud")
    with pytest.raises(SpecError, match="is for two models or more"):
        fitting_pairs({"fraud": fraud}, {"epyc": ("epyc-0",)})
    with pytest.raises(SpecError, match="'churn' has the job of fraud"):
        fitting_pairs({"fraud": fraud, "churn": fraud}, {"epyc": ("epyc-0",)})
    with pytest.raises(SpecError, match="makes 499,500 pairs of models on classes of hosts, and 5,000 can be planned"):
        fitting_pairs({f"{nth}": jobs.job(f"job-{nth}") for nth in range(1000)}, {"epyc": ("epyc-0",)})


def test_a_turn_takes_as_long_as_its_limit_takes_to_be_decided_and_no_longer(jobs: Jobs) -> None:
    assert turn_of(jobs.job("fraud"), 1000.0) == MIN_TURN_S
    # Of the 720 requests that decide a p95, each of four rounds has a quarter.
    assert turn_of(jobs.job("fraud"), 20.0) == 9
    assert turn_of(jobs.job("fraud"), 0.1) == MAX_TURN_S
    p99 = (*P95, LatencyThreshold(percentile="p99", limit_ms=90.0))
    assert turn_of(jobs.job("fraud", thresholds=p99), 100.0) == 10
    assert turn_of(jobs.job("fraud", thresholds=()), 1000.0) == MIN_TURN_S


@given(
    needs=st.lists(
        st.builds(Need, vcpus=st.integers(1, 12), deployment=st.sampled_from(["library", "endpoint"])),
        min_size=2,
        max_size=2,
    ),
    cores=st.integers(1, 16),
    siblings=st.integers(1, 2),
)
def test_no_core_is_of_two_models_or_of_a_model_and_a_client(needs: list[Need], cores: int, siblings: int) -> None:
    cpus = tuple(LogicalCpu(cpu=nth, core=nth % cores) for nth in range(cores * siblings))
    host = replace(host_of(HERE, 1), cpus=cpus)
    found = cpu_sets(host, needs)
    assert (found is None) == (why_not(host, needs) is not None)
    if found is None:
        return
    core_of = {cpu.cpu: cpu.core for cpu in cpus}
    clients = [(slot.outside or ())[: need.client_cpus] for slot, need in zip(found, needs, strict=True)]
    taken = [{core_of[cpu] for cpu in group or ()} for group in (*(slot.cpus for slot in found), *clients)]
    assert sum(map(len, taken)) == len(set().union(*taken))
    for slot, need, client in zip(found, needs, clients, strict=True):
        assert len(slot.cpus or ()) == need.vcpus
        assert len(client) == need.client_cpus


@pytest.mark.parametrize(("deployment", "clients"), [("library", 0), ("endpoint", 2)])
def test_endpoints_alone_take_cpus_for_their_clients(deployment: Deployed, clients: int) -> None:
    assert Need(vcpus=4, deployment=deployment).client_cpus == clients
