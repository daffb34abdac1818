"""Hosts that are split off the class that they were taken for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from servefit.search.fleet.answer import left_out
from servefit.search.fleet.fleet_job import read_fleet_job
from servefit.search.fleet.splitting import split_off

if TYPE_CHECKING:
    from tests.search.fleet.conftest import MakeJob

pytestmark = pytest.mark.integration


def test_a_host_that_is_unlike_its_class_is_one_of_its_own_of_which_nothing_is_known(open_job: MakeJob) -> None:
    job = open_job("rack3-07", "rack3-08", "rack3-09")
    job.log.classify(tuple(replace(host, host_class="epyc") for host in job.header.hosts))
    remarks = split_off(job.log, {"rack3-08": "answers 14 % less than hosts like it"})
    assert remarks == (
        "rack3-08 answers 14 % less than hosts like it: it is a class of its own, of which no more was measured",
    )
    found = read_fleet_job(job.store, job.log.name)
    assert {each.host_class: each.hosts for each in found.classes} == {
        "epyc": ("rack3-07", "rack3-09"),
        "epyc-rack3-08": ("rack3-08",),
    }
    split = found.of("rack3-08").job
    assert split.state.status == "COMPLETED"
    assert split.state.remarks == ("rack3-08 answers 14 % less than hosts like it",)
    assert dict(left_out(found, None))["epyc-rack3-08"] == "rack3-08 answers 14 % less than hosts like it"


def test_where_all_hosts_are_like_their_class_nothing_changes(open_job: MakeJob) -> None:
    job = open_job("rack3-07")
    job.log.classify(tuple(replace(host, host_class="epyc") for host in job.header.hosts))
    before = job.log.header
    assert split_off(job.log, {}) == ()
    assert job.log.header == before
