"""What a job is about: this machine's profiles unless others are asked for, and endpoints where a client has a CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from servefit.errors import SpecError
from servefit.profiler.machine.cpus import LogicalCpu
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.instance_profile import CLOUDS
from servefit.profiler.machine.prices import KnownPrice, keep_prices
from servefit.search.jobs.measurable import measurable_profiles, why_disturbed
from servefit.search.request.job_request import EnvironmentRange, JobRequest, parse_clouds

if TYPE_CHECKING:
    from pathlib import Path

HOST = describe_host()


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))


def names(**asked: object) -> list[str]:
    profiles, _ = measurable_profiles(JobRequest(name="job", **asked), HOST)  # type: ignore[arg-type]
    return [profile.name for profile in profiles]


def test_a_job_is_about_this_machine_unless_something_else_is_asked_for() -> None:
    assert names()[0] == "local-1c"
    assert all(name.startswith("local-") for name in names())
    assert names(profiles=("local-1c",)) == ["local-1c"]


def test_a_profile_that_a_variable_varies_on_is_asked_for_by_that() -> None:
    threads = EnvironmentRange(variable="OMP_NUM_THREADS", values=("1",), profiles=("local-1c", "mine"))
    with pytest.raises(SpecError, match="profile: 'mine' is not known"):
        names(environment=(threads,))
    wide = EnvironmentRange(variable="OMP_NUM_THREADS", values=("1",), profiles=("c7i.48xlarge",))
    _, skipped = measurable_profiles(JobRequest(name="job", environment=(wide,)), HOST)
    assert "c7i.48xlarge" in [each.name for each in skipped] or "c7i.48xlarge" in names(environment=(wide,))
    with pytest.raises(SpecError, match=r"is to vary on c7i\.48xlarge, which is not among the profiles asked for"):
        names(environment=(wide,), profiles=("local-1c",))


def test_prices_in_two_currencies_are_refused_before_anything_is_measured() -> None:
    keep_prices({"local-1c": KnownPrice(per_hour=0.1, currency="EUR", source="me")})
    assert names(profiles=("local-1c",)) == ["local-1c"]
    keep_prices({"local": KnownPrice(per_hour=0.2, source="me")})
    if len(names(profiles=("local-1c",))) < len(HOST.cpus):
        with pytest.raises(SpecError, match="prices are in 2 currencies, which cannot be compared: EUR"):
            names()


def test_clouds_are_named_several_times_or_with_commas_in_any_case() -> None:
    assert parse_clouds(["AWS, gcp", "azure"]) == CLOUDS
    with pytest.raises(SpecError, match=r"cloud: 'asw' is not known; did you mean 'aws'\?"):
        parse_clouds(["asw"])
    with pytest.raises(SpecError, match="cloud: 'aws' is named twice"):
        JobRequest(name="job", clouds=("aws", "aws"))
    with pytest.raises(SpecError, match="'ibm' is not known"):
        JobRequest(name="job", clouds=("ibm",))  # type: ignore[arg-type]


def test_an_endpoint_that_shares_its_only_core_with_the_client_is_told_of_with_the_way_out() -> None:
    siblings = replace(HOST, cpus=(LogicalCpu(cpu=0, core=0), LogicalCpu(cpu=1, core=0)))
    assert "--deploy library" in (why_disturbed(JobRequest(name="job"), siblings) or "")
    assert why_disturbed(JobRequest(name="job", deploy="library"), siblings) is None
    two_cores = replace(HOST, cpus=(LogicalCpu(cpu=0, core=0), LogicalCpu(cpu=1, core=1)))
    assert why_disturbed(JobRequest(name="job"), two_cores) is None
