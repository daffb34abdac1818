"""What a role of agents may do in a real database, and what it may not: each line of the tables in docs/fleet.md."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.exc import DBAPIError
from tests.search.fleet.conftest import LEASES, MakeHost, MakeJob, OpenJob, StartAgent, eventually, rows

from servefit.errors import MeasurementError, SpecError, StorageError
from servefit.profiler.record.types import Configuration
from servefit.search.fleet.checks.rates import TimedCalls
from servefit.search.fleet.compiling import Compile, Compiled
from servefit.search.fleet.database import FleetDatabase, fleet_address
from servefit.search.fleet.dispatcher import _Pending
from servefit.search.fleet.load.starts import Starts
from servefit.search.fleet.making import bind_agents
from servefit.search.fleet.orders import Answer, Failure, Orders
from servefit.search.fleet.queue import open_queue
from servefit.search.fleet.registry import Registry
from servefit.search.results.recommendation import Trial
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from tests.search.conftest import Server
    from tests.search.fleet.conftest import Servefit

    from servefit.search.fleet.orders import Order
    from servefit.search.fleet.registry import Claim
    from servefit.search.jobs.orders import Load

pytestmark = pytest.mark.integration

MINE, OTHERS = "rack3-07", "rack3-08"


@dataclass
class Site:
    """A fleet with two roles of agents, each with the name of a host, and an open order for either host."""

    urls: dict[str, str]
    databases: dict[str, FleetDatabase]
    claims: dict[str, Claim]
    orders: dict[str, Order]
    job: OpenJob

    def tries(self, *statements: str) -> int:
        """The rows that the role of MINE reads or changes with the last of ``statements``; 0 where it is refused."""
        return _done(self.urls[MINE], *statements)


def _done(url: str, *statements: str) -> int:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        try:
            for each in statements:
                done = connection.exec_driver_sql(each).rowcount
        except DBAPIError as error:
            if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege | psycopg.errors.UniqueViolation):
                raise
            return 0
        connection.commit()
        return done


def _as(role: str, url: str) -> str:
    return make_url(url).set(username=role, password="x").render_as_string(hide_password=False)


MakeRole = Callable[[str], str]


@pytest.fixture
def make_role(postgresql: Server, fleet_url: str) -> MakeRole:
    """Makes a role that may log in, and returns its name."""

    def make(options: str = "") -> str:
        name = f"agent-{secrets.token_hex(4)}"
        with postgresql.connect() as connection:
            connection.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'x' {options}".encode())
        return name

    return make


@pytest.fixture
def site(fleet_url: str, fleet_host: MakeHost, open_job: MakeJob, make_role: MakeRole) -> Iterator[Site]:
    roles = {MINE: make_role(""), OTHERS: make_role("")}
    assert bind_agents(fleet_url, list(roles.values())) == ()
    urls = {host: _as(role, fleet_url) for host, role in roles.items()}
    with ExitStack() as stack:
        databases, claims = {}, {}
        for host, url in urls.items():
            databases[host] = FleetDatabase(fleet_address(url))
            stack.callback(databases[host].close)
            claims[host] = Registry(databases[host], fleet_address(url), LEASES).claim(fleet_host(host))
        job = open_job(MINE, OTHERS)
        orders = {host: job.order(host) for host in urls}
        for order in orders.values():
            job.dispatcher.orders.give(order)
            pending = _Pending(order.host, None, inf, lambda: inf, lambda _: None, TimedCalls, None)
            job.dispatcher._put(pending, order.token)
        yield Site(urls, databases, claims, orders, job)


def test_a_role_opens_the_jobs_also_where_nobody_with_its_optuna_has_written_down_that_it_fits(
    make_role: MakeRole, open_job: MakeJob, fleet_url: str
) -> None:
    role = make_role("")
    name = open_job(MINE).header.request.name
    bind_agents(fleet_url, [role])
    for kept in (1, 0):
        with JobStore.open(_as(role, fleet_url)) as store:
            assert store.job(name).header.request.name == name
        assert len(rows(fleet_url, "SELECT * FROM servefit_checked")) == kept
        assert _done(fleet_url, "DELETE FROM servefit_checked") == kept


@pytest.mark.thorough
def test_an_agent_with_a_role_of_its_own_compiles_measures_and_says_which_variable_it_does_not_set(
    start_agent: StartAgent, open_job: MakeJob, make_role: MakeRole, fleet_url: str
) -> None:
    role = make_role("")
    bind_agents(fleet_url, [role])
    agent = start_agent(MINE, "--allow-env", "MY_OWN", url=_as(role, fleet_url))
    job = open_job(MINE)
    compiled = job.dispatcher.ask(job.order(MINE, Compile())).result
    assert isinstance(compiled, Compiled)
    assert [(report.backend, report.status) for report, _, _ in compiled.reports] == [("xgboost", "COMPLETED")]
    trial = job.dispatcher.ask(job.order(MINE, _load_with(job, "MY_OWN"))).result
    assert isinstance(trial, Trial)
    assert trial.capacity.throughput_per_s > 100
    failure = job.dispatcher.ask(job.order(MINE, _load_with(job, "LD_PRELOAD"))).failure
    assert failure is not None
    error = failure.as_error()
    assert isinstance(error, SpecError)
    assert (error.field, error.value) == ("env", "LD_PRELOAD")
    assert "--allow-env LD_PRELOAD" in str(error)
    # The queue forgets an order after its answer was given.
    eventually(lambda: rows(fleet_url, "SELECT count(*) FROM procrastinate_jobs") == [(0,)])
    assert agent.end() == 0
    assert rows(fleet_url, "SELECT count(*) FROM procrastinate_workers WHERE role <> current_user") == [(0,)]
    assert agent.said() == ""


def _load_with(job: OpenJob, variable: str) -> Load:
    return job.load(configuration=Configuration(backend="xgboost", vcpus=1, environment=((variable, "1"),)))


REFUSED = {
    "answer for another host": "UPDATE servefit_orders SET state = 'ANSWERED', answer = 'x' WHERE host = '{others}'",
    "take the order of another host": "UPDATE servefit_orders SET agent = 'me' WHERE host = '{others}'",
    "read the orders of others": "SELECT * FROM servefit_orders WHERE host = '{others}'",
    "change what it was asked for": "UPDATE servefit_orders SET document = '{{}}' WHERE host = '{mine}'",
    "give its order to another host": "UPDATE servefit_orders SET host = '{others}' WHERE host = '{mine}'",
    "give orders": "INSERT INTO servefit_orders (token, host, job, state, document, given_at) VALUES "
    "('x', '{mine}', 'x', 'OPEN', '{{}}', 0)",
    "delete orders": "DELETE FROM servefit_orders",
    "empty a table": "TRUNCATE servefit_orders",
    "describe another host": "UPDATE servefit_agents SET document = '{{}}' WHERE name = '{others}'",
    "read the token of another agent": "SELECT token FROM servefit_agents WHERE name = '{others}'",
    "register under the name of another": "INSERT INTO servefit_agents "
    "(name, token, owner, renewed_at, document, drained) VALUES ('{others}', 'x', 'null', 0, '{{}}', 0)",
    "register for another role": "INSERT INTO servefit_agents (name, token, owner, renewed_at, document, drained, role)"
    " VALUES ('c', 'x', 'null', 0, '{{}}', 0, 'fit')",
    "hand its host over": "UPDATE servefit_agents SET role = 'fit' WHERE name = '{mine}'",
    "take orders although it is drained": "UPDATE servefit_agents SET drained = 0 WHERE name = '{mine}'",
    "forget a host": "DELETE FROM servefit_agents",
    "say that another is ready": "INSERT INTO servefit_starts (token, ready_at) VALUES ('{token}', 0)",
    "name a start": "UPDATE servefit_starts SET start_at = 0",
    "change leases": "UPDATE servefit_fleet SET lost_s = 0",
    "write results into a job": "UPDATE servefit_documents SET text = '{{}}'",
    "begin a job": "INSERT INTO servefit_jobs (name, copied) VALUES ('x', 0)",
    "change a model": "UPDATE servefit_blob_chunks SET bytes = ''",
    "fill the database with models": "INSERT INTO servefit_blobs VALUES ('x', 0, 0, 0)",
    "read the studies of jobs": "SELECT * FROM trial_user_attributes",
    "take an order of another out of the queue": "DELETE FROM procrastinate_jobs WHERE queue_name = '{others}'",
    "queue something for another": "INSERT INTO procrastinate_jobs (queue_name, task_name, lock) VALUES "
    "('{others}', 'servefit.order', '{others}')",
    "hold the lock of another": "INSERT INTO procrastinate_jobs (queue_name, task_name, lock) VALUES "
    "('{mine}', 'servefit.order', '{others}')",
    "end the worker of another": "DELETE FROM procrastinate_workers WHERE role <> current_user",
    "run as the owner": "SET ROLE fit",
    "unbind itself": "ALTER TABLE servefit_orders DISABLE ROW LEVEL SECURITY",
    "bind by another rule": "CREATE POLICY mine ON servefit_orders USING (true)",
    "make a table": "CREATE TABLE mine (x int)",
    "seem to have the rights of the owner": "CREATE TEMP TABLE servefit_orders (x int); "
    "SET search_path = pg_temp, {schema}; "
    "UPDATE {schema}.servefit_orders SET state = 'ANSWERED' WHERE host = '{others}'",
    "hold a table of orders": "BEGIN; LOCK TABLE servefit_orders IN ACCESS EXCLUSIVE MODE",
}


def test_an_agents_role_may_do_nothing_for_others_and_nothing_to_the_fleet(site: Site, fleet_url: str) -> None:
    ((schema,),) = rows(fleet_url, "SELECT current_schema()")
    rows(fleet_url, "SELECT procrastinate_register_worker_v1()")
    names = {"mine": MINE, "others": OTHERS, "token": site.orders[OTHERS].token, "schema": schema}
    before = rows(fleet_url, _EVERYTHING)
    done = {what: site.tries(*statement.format(**names).split(";")) for what, statement in REFUSED.items()}
    assert {what: count for what, count in done.items() if count} == {}
    assert rows(fleet_url, _EVERYTHING) == before


_EVERYTHING = """
    SELECT (SELECT string_agg(o::text, '|' ORDER BY token) FROM servefit_orders o),
    (SELECT string_agg(a::text, '|' ORDER BY name) FROM servefit_agents a),
    (SELECT string_agg(d::text, '|' ORDER BY key) FROM servefit_documents d WHERE key NOT LIKE '%owner'),
    (SELECT count(*) FROM servefit_jobs), (SELECT count(*) FROM servefit_blobs), (SELECT count(*) FROM servefit_starts),
    (SELECT sum(lost_s) FROM servefit_fleet), (SELECT sum(length(bytes)) FROM servefit_blob_chunks),
    (SELECT string_agg(j::text, '|' ORDER BY id) FROM procrastinate_jobs j),
    (SELECT count(*) FROM procrastinate_workers)
"""


STILL = {
    "answer for its own host whatever it likes": "UPDATE servefit_orders SET state = 'ANSWERED', answer = 'x' "
    "WHERE host = '{mine}'",
    "give up what its own host is asked for": "UPDATE servefit_orders SET state = 'given up' WHERE host = '{mine}'",
    "describe its own host falsely": "UPDATE servefit_agents SET document = '{{}}' WHERE name = '{mine}'",
    "register hosts that are not there": "INSERT INTO servefit_agents "
    "(name, token, owner, renewed_at, document, drained) VALUES ('rack3-99', 'x', 'null', 0, '{{}}', 0)",
    "read jobs": "SELECT * FROM servefit_documents",
    "read models and payloads": "SELECT * FROM servefit_blob_chunks",
    "fill its own queue": "INSERT INTO procrastinate_jobs (queue_name, task_name, lock) VALUES "
    "('{mine}', 'servefit.order', '{mine}')",
    "say anything to agents and jobs": "SELECT pg_notify('procrastinate_queue_v1#{others}', 'x')",
    "hold up the queue": "LOCK TABLE procrastinate_jobs IN ACCESS EXCLUSIVE MODE; SELECT 1",
    "hold up its own order": "SELECT 1 FROM servefit_orders WHERE host = '{mine}' FOR UPDATE",
    "keep a connection": "SELECT pg_sleep(0)",
}


@pytest.mark.thorough
def test_an_agents_role_may_still_do_what_the_page_says(site: Site, fleet_url: str) -> None:
    before = rows(fleet_url, _OTHERS)
    done = {what: site.tries(*text.format(mine=MINE, others=OTHERS).split(";")) for what, text in STILL.items()}
    assert {what: count for what, count in done.items() if not count} == {}
    assert rows(fleet_url, _OTHERS) == before


_OTHERS = f"""
    SELECT (SELECT string_agg(o::text, '|') FROM servefit_orders o WHERE host = '{OTHERS}'),
    (SELECT string_agg(a::text, '|') FROM servefit_agents a WHERE name = '{OTHERS}'),
    (SELECT string_agg(j::text, '|') FROM procrastinate_jobs j WHERE queue_name = '{OTHERS}')
"""


def test_what_others_say_ends_nothing_that_an_agent_is_at(site: Site, fleet_url: str) -> None:
    carried: list[str] = []

    async def carry(token: str) -> None:
        ((number,),) = rows(fleet_url, "SELECT id FROM procrastinate_jobs WHERE status = 'doing'")
        for payload in (f'{{"type": "abort_job_requested", "job_id": {number}}}', "x"):
            notify = f"SELECT pg_notify('procrastinate_queue_v1#{MINE}', '{payload}')"
            await asyncio.to_thread(_done, site.urls[OTHERS], notify)
        await asyncio.sleep(0.2)
        carried.append(token)
        until.set()

    async def work() -> None:
        async with open_queue(fleet_address(site.urls[MINE])) as queue:
            await asyncio.wait_for(queue.work(MINE, carry, until=until), 20)

    until = asyncio.Event()
    asyncio.run(work())
    assert carried == [site.orders[MINE].token]


def test_it_takes_and_answers_orders_of_its_own_host_alone(site: Site) -> None:
    orders = Orders(site.databases[MINE])
    claim = site.claims[MINE]
    assert orders.begin(site.orders[OTHERS].token, claim.token) is None
    assert orders.begin(site.orders[MINE].token, claim.token) == site.orders[MINE]
    failure = Answer(failure=Failure.of(MeasurementError("nothing was answered")))
    assert not orders.answer(site.orders[OTHERS].token, claim.token, failure)
    assert orders.answer(site.orders[MINE].token, claim.token, failure)
    kept = site.job.dispatcher.orders.states([order.token for order in site.orders.values()])
    assert {token: state.state for token, state in kept.items()} == {
        site.orders[MINE].token: "ANSWERED",
        site.orders[OTHERS].token: "OPEN",
    }
    assert kept[site.orders[OTHERS].token].agent is None


def test_a_name_belongs_to_the_role_that_had_it_first_until_it_is_forgotten(
    site: Site, fleet_host: MakeHost, fleet_url: str
) -> None:
    registry = Registry(site.databases[MINE], fleet_address(site.urls[MINE]), LEASES)
    with pytest.raises(SpecError, match=r"is that of another role of the database.*servefit fleet forget rack3-08"):
        registry.claim(fleet_host(OTHERS))
    owner = Registry(site.job.store.database, fleet_address(fleet_url), LEASES)
    Registry(site.databases[OTHERS], fleet_address(site.urls[OTHERS]), LEASES).leave(site.claims[OTHERS])
    owner.forget(OTHERS)
    assert registry.claim(fleet_host(OTHERS)).name == OTHERS


def test_a_client_says_that_it_is_ready_for_its_own_order(site: Site) -> None:
    token = site.orders[MINE].token
    starts = Starts(site.databases[MINE])
    starts.say_ready(token)
    Starts(site.job.store.database).name_start([token], lead_s=1.0)
    assert starts.start_of(token) is not None
    with pytest.raises(StorageError, match="row-level security"):
        starts.say_ready(site.orders[OTHERS].token)


@pytest.mark.thorough
def test_whoever_begins_jobs_is_not_bound(site: Site, make_role: MakeRole, fleet_url: str) -> None:
    """A second role that was given all rights by hand, as that of a colleague who begins jobs too."""
    role = make_role("")
    ((schema,),) = rows(fleet_url, "SELECT current_schema()")
    _done(fleet_url, f'GRANT USAGE ON SCHEMA {schema} TO "{role}"')
    _done(fleet_url, f'GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO "{role}"')
    assert rows(_as(role, fleet_url), "UPDATE servefit_orders SET late = 'x' RETURNING 1") == [(1,), (1,)]


def test_what_nothing_binds_is_refused_as_a_role_of_agents(
    fleet_url: str, postgresql: Server, make_role: MakeRole
) -> None:
    with pytest.raises(SpecError, match="is no role of the database") as unknown:
        bind_agents(fleet_url, ["nobody"])
    assert unknown.value.remedy == "CREATE ROLE \"nobody\" LOGIN PASSWORD '...'"
    for role in (
        postgresql.user,
        make_role("SUPERUSER"),
        make_role("BYPASSRLS"),
        make_role(f"IN ROLE {postgresql.user}"),
    ):
        with pytest.raises(SpecError, match="nothing binds it"):
            bind_agents(fleet_url, [role])
    group = make_role("")
    member = make_role(f'IN ROLE "{group}"')
    _done(fleet_url, f'GRANT DELETE ON servefit_orders TO "{group}"')
    with pytest.raises(SpecError, match="has rights from another role"):
        bind_agents(fleet_url, [member])


@pytest.mark.thorough
def test_init_says_what_one_role_for_all_risks_until_there_are_others(
    servefit: Servefit, make_role: MakeRole, fleet_url: str
) -> None:
    told = servefit("fleet", "init")
    assert "may write the results of every host: give hosts roles of their own with --agent-role" in told.stderr
    role = make_role("")
    ((schema,),) = rows(fleet_url, "SELECT current_schema()")
    _done(fleet_url, f"GRANT CREATE ON SCHEMA {schema} TO PUBLIC")
    bound = servefit("fleet", "init", "--agent-role", role)
    assert bound.returncode == 0, bound.stderr
    assert f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC" in bound.stderr
    assert servefit("fleet", "init").stderr == ""
