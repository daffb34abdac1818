"""The addresses of databases."""

from __future__ import annotations

import sys
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from servefit.errors import SpecError
from servefit.search.storage.addresses import CONNECT_S, parse_address
from servefit.search.storage.jobs import JobStore

PASSWORD = "s3cr3t"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jobs.db",
        "sqlite:/jobs.db",
        f"postgresql:/fit:{PASSWORD}@server/jobs",
        f"postgresql://fit:{PASSWORD}@server:port/jobs",
        f"postgresql://fit:{PASSWORD}",
        f"postgresql://fit:with@{PASSWORD}@server/jobs",
    ],
)
def test_a_malformed_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        JobStore.open(text)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.field, caught.value.value) == ("storage", "***")


def test_a_malformed_url_is_answered_with_how_to_write_one() -> None:
    with pytest.raises(SpecError) as caught:
        parse_address("jobs.db")
    assert str(caught.value) == (
        "storage: '***' is not the URL of a database; "
        "write sqlite:////folder/jobs.db or postgresql://user:password@server/database"
    )


def test_an_at_sign_in_a_password_is_answered_with_how_to_write_it() -> None:
    with pytest.raises(SpecError, match="an @ in a password has to be written as %40"):
        parse_address(f"postgresql://fit:with@{PASSWORD}@server/jobs")


@pytest.mark.parametrize("text", [f"oracel://fit:{PASSWORD}@server/jobs", f"mysql+pymsql://fit:{PASSWORD}@server/jobs"])
def test_an_unknown_kind_of_database_is_refused_by_name(text: str) -> None:
    kind = text.partition(":")[0]
    with pytest.raises(SpecError) as caught:
        JobStore.open(text)
    assert caught.value.value == f"{kind}://fit:***@server/jobs"
    assert f"names no known kind of database: '{kind}'" in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("text", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:jobs?mode=memory&uri=true"])
def test_a_database_in_memory_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"storage: .* names no file: it would be forgotten at once"):
        JobStore.open(text)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_missing_driver_of_postgresql_is_answered_with_the_extra(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SpecError, match="needs a driver for postgresql that is not installed") as caught:
        JobStore.open(f"{scheme}://fit:{PASSWORD}@127.0.0.1/jobs")
    assert caught.value.remedy == "pip install 'servefit[postgres]'"
    assert PASSWORD not in str(caught.value)


def test_a_missing_driver_of_mysql_is_answered_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(SpecError, match="pip install pymysql, and begin the URL with mysql\\+pymysql://"):
        JobStore.open(f"mysql://fit:{PASSWORD}@127.0.0.1/jobs")


def test_options_in_a_url_are_not_shown_and_come_before_servefits_own() -> None:
    address = parse_address(f"postgresql://server/jobs?password={PASSWORD}&connect_timeout=60&sslmode=require")
    assert address.shown == "postgresql://server/jobs"
    assert "connect_timeout" not in address.engine_options["connect_args"]
    assert address.scrubbed(f"password={PASSWORD}") == "password=***"
    assert parse_address("postgresql://server/jobs").engine_options["connect_args"]["connect_timeout"] == CONNECT_S


@pytest.mark.parametrize(
    "said",
    [
        "FATAL:  sorry, too many clients already",
        'FATAL:  too many connections for role "fleet"',
        "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
    ],
)
def test_a_server_that_has_no_connection_left_is_answered_with_its_limit(said: str) -> None:
    error = parse_address("postgresql://server/jobs").error(said)
    assert "raise max_connections" in (error.remedy or "")
    assert parse_address("postgresql://server/jobs").error("no such table").remedy is None


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20))
def test_a_password_is_handed_on_whole_and_never_shown(password: str) -> None:
    text = URL.create("postgresql", "U", password, "H", database="D").render_as_string(hide_password=False)
    address = parse_address(text)
    assert address.url.password == password
    assert address.shown == "postgresql://U:***@H/D"
    for repeated in (password, quote(password, safe=""), text):
        left = address.scrubbed(f"<{repeated}>")
        assert password not in left.replace("***", "") or set(password) <= set("<>postgresql://U:@H/D")
