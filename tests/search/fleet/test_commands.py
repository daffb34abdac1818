"""The commands that keep a fleet, and what is wrong with a job on one before anything is measured."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.search.fleet.conftest import LEASES, MakeHost, NewFleet, rows
from tests.tiny_model import tiny_model
from typer.testing import CliRunner, Result

from servefit.cli.commands import app
from servefit.search.fleet.database import FleetDatabase, fleet_address
from servefit.search.fleet.registry import Registry

pytestmark = pytest.mark.integration

Servefit = Callable[..., Result]


@pytest.fixture(scope="module")
def fleet_url(new_fleet: NewFleet, fleet_host: MakeHost) -> Iterator[str]:
    """A fleet of one host, whose agent is not heard of again. It is asked in vain, so all tests may ask the same."""
    with new_fleet() as url:
        rows(url, "UPDATE servefit_fleet SET silent_s = 86400, lost_s = 86400 RETURNING 1")
        with _registry(url) as registry:
            registry.claim(fleet_host("rack3-07", labels=(("rack", "3"),), allows=("API_TOKEN",)))
        yield url


@pytest.fixture
def servefit(tmp_path: Path, fleet_url: str) -> Servefit:
    environment = {"SERVEFIT_STORAGE": fleet_url, "SERVEFIT_HOME": str(tmp_path / "home"), "COLUMNS": "200"}

    def run(*arguments: str, **changes: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={**environment, **changes})

    return run


@contextmanager
def _registry(url: str) -> Iterator[Registry]:
    database = FleetDatabase(fleet_address(url))
    yield Registry(database, database.address, LEASES)
    database.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "model.ubj")


def test_a_fleet_is_made_once_and_its_leases_are_changed(servefit: Servefit, postgresql_url: str) -> None:
    servefit = partial(servefit, SERVEFIT_STORAGE=postgresql_url)
    refused = servefit("fleet", "hosts")
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert "it has no fleet; make the tables of a fleet there: servefit fleet init" in refused.stderr
    assert servefit("fleet", "init").exit_code == 0
    assert servefit("fleet", "init", "--silent-after", "5s", "--lost-after", "20s").exit_code == 0
    assert rows(postgresql_url, "SELECT silent_s, lost_s FROM servefit_fleet") == [(5.0, 20.0)]
    assert servefit("fleet", "init", "--silent-after", "5s", "--lost-after", "2s").exit_code == 2
    assert "no agent was ever here" in servefit("fleet", "hosts").stdout
    assert json.loads(servefit("fleet", "hosts", "--format", "json").stdout) == []


def test_hosts_are_listed_drained_and_forgotten(servefit: Servefit, new_fleet: NewFleet, fleet_host: MakeHost) -> None:
    described = fleet_host("rack3-07", address="10.0.3.7", labels=(("rack", "3"),), cost=(("per_hour", 0.21),))
    with new_fleet() as url, _registry(url) as registry:
        servefit = partial(servefit, SERVEFIT_STORAGE=url)
        claim = registry.claim(described)
        (listed,) = json.loads(servefit("fleet", "hosts", "--format", "json").stdout)
        assert (listed["name"], listed["status"], listed["labels"]) == ("rack3-07", "idle", {"rack": "3"})
        assert (listed["address"], listed["cost"]) == ("10.0.3.7", {"per_hour": 0.21})
        assert "rack3-07 gets no more orders" in servefit("fleet", "drain", "rack3-07").stdout
        assert "drained" in servefit("fleet", "hosts").stdout
        assert servefit("fleet", "drain", "rack3-07", "--back").exit_code == 0
        refused = servefit("fleet", "forget", "rack3-07")
        assert refused.exit_code == 2
        assert "has an agent that runs" in refused.stderr
        registry.leave(claim)
        assert servefit("fleet", "forget", "rack3-07").exit_code == 0
        unknown = servefit("fleet", "drain", "rack3-07")
        assert unknown.exit_code == 2
        assert "is not known" in unknown.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--host", "rack4-*"), "host: 'rack4-*' is not known; did you mean 'rack3-07'"),
        (("--label", "rack=4"), "label: 'rack=4' is not known; did you mean 'rack=3'"),
        (("--label", "rack"), "label: 'rack' has no value; write rack=3"),
        (("--spare", "1"), "spare: 1 is not less than the 1 hosts that were chosen"),
        (("--spare", "2", "--most-hosts", "2"), "spare: 2 is not less than the 2 hosts that may serve"),
        (("--goal", "cost"), "goal: 'cost' needs what rack3-07 costs, which its agent was not told"),
        (("--goal", "watts"), "goal: 'watts' needs what rack3-07 costs, which its agent was not told"),
        (("--goal", "speed"), "goal"),
        (("--max-parallel-tests", "2"), "max_parallel_tests: 2 is for tests on one host"),
        (("--budget", "1s"), "budget: '1s' is too little"),
        (("--env", "LD_PRELOAD=a.so"), "env: 'LD_PRELOAD' is not on the list of variables that others may set"),
        (("--env", "OMP_TOOL_LIBRARIES=a.so"), "env: 'OMP_TOOL_LIBRARIES' is not on the list of variables"),
        (("--env", "OMP_PLACES=/tmp/x"), "env: 'OMP_PLACES' takes places such as cores"),
        (("--env", "API_TOKEN=a,b"), "secret"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_job_is_told_in_a_line_before_anything_is_measured(
    servefit: Servefit, fleet_url: str, model: Path, options: tuple[str, ...], told: str
) -> None:
    ended = servefit("recommend", str(model), "--fleet", "--rate", "100/s", "--quiet", *options)
    assert ended.exit_code == 2, ended.stderr
    assert told in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert ended.stdout == ""
    assert rows(fleet_url, "SELECT 1 FROM servefit_orders") == []
    assert rows(fleet_url, "SELECT 1 FROM servefit_jobs") == []


def test_a_fleet_without_hosts_says_how_to_start_one(servefit: Servefit, new_fleet: NewFleet, model: Path) -> None:
    with new_fleet() as url:
        ended = servefit("recommend", str(model), "--fleet", SERVEFIT_STORAGE=url)
    assert ended.exit_code == 2
    assert "fleet has no hosts; start an agent on each" in ended.stderr


@pytest.mark.parametrize("storage", ["sqlite:////tmp/jobs.db", "", "nonsense"])
def test_a_database_that_cannot_hold_a_fleet_is_refused(servefit: Servefit, model: Path, storage: str) -> None:
    ended = servefit("recommend", str(model), "--fleet", SERVEFIT_STORAGE=storage)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("servefit: storage")


def test_hosts_are_chosen_for_jobs_on_a_fleet_alone(servefit: Servefit, model: Path) -> None:
    for options in (("--host", "rack*"), ("--label", "a=b"), ("--spare", "1"), ("--most-hosts", "2")):
        ended = servefit("recommend", str(model), *options)
        assert ended.exit_code == 2
        assert "add --fleet" in ended.stderr


@pytest.mark.thorough
def test_a_pickle_is_refused_where_an_agent_does_not_unpickle(servefit: Servefit, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1])))
    ended = servefit("recommend", str(path), "--fleet", "--trust-pickle", "--quiet")
    assert ended.exit_code == 2, ended.stderr
    assert "is a pickle, and the agents of rack3-07 unpickle none" in ended.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--name", "a/b"), "name"),
        (("--name", "x" * 64), "name"),
        (("--label", "a"), "label"),
        (("--label", "a=b", "--label", "a=c"), "given twice"),
        (("--cost", "per_hour=nan"), "cost per_hour"),
        (("--cost", "per_hour=-1"), "cost per_hour"),
        (("--cost", "capex=1"), "give both"),
        (("--cost", "price=1"), "cost"),
        (("--idle-exit", "0s"), "idle_exit"),
        (("--allow-env", "A B"), "allow_env"),
        (("--address", "10.0.3"), "address"),
    ],
)
def test_an_agent_with_wrong_options_does_not_start(
    servefit: Servefit, fleet_url: str, options: tuple[str, ...], told: str
) -> None:
    ended = servefit("agent", *options)
    assert ended.exit_code == 2
    assert told in ended.stderr
    assert rows(fleet_url, "SELECT name FROM servefit_agents") == [("rack3-07",)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--model", "fraud"), "model: 'fraud' does not look like fraud=JOB"),
        (("--model", "a=one", "--model", "a=two"), "model: 'a' is given twice"),
        (("--model", "fraud=none"), "job: 'none' is not known"),
        (("--model", "fraud=none", "--goal", "speed"), "goal: 'speed' is not known"),
        (("--model", "fraud=none", "--share"), "job: 'none' is not known"),
        (("--model", "fraud=none", "--again"), "again is about models that share hosts; add --share"),
    ],
)
def test_a_plan_of_several_models_takes_a_job_for_each(servefit: Servefit, options: tuple[str, ...], told: str) -> None:
    ended = servefit("fleet", "plan", *options)
    assert ended.exit_code == 2
    assert told in ended.stderr
