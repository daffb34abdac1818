"""The command of ssh, and the URL of the database at the other end of its tunnel."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL, make_url

from servefit.errors import SpecError
from servefit.search.fleet.launching.agent_options import AgentOptions
from servefit.search.fleet.launching.inventory import InventoryHost
from servefit.search.fleet.launching.ssh import remote_command, ssh_command
from servefit.search.fleet.launching.tunnel import tunnelled

if TYPE_CHECKING:
    from tests.search.fleet.launching.ssh_server import SshServer


def settings(command: list[str]) -> dict[str, str]:
    """What ssh itself makes of a command."""
    shown = subprocess.run(
        [command[0], "-F", "/dev/null", "-G", *command[1:]], capture_output=True, text=True, check=True
    )
    return dict(line.split(" ", 1) for line in shown.stdout.splitlines() if " " in line)


@pytest.mark.integration
def test_ssh_takes_keys_alone_asks_nothing_and_runs_in_the_foreground(sshd: SshServer, tmp_path: Path) -> None:
    database = tunnelled("postgresql://fleet:secret@db.lan:6543/servefit")
    (tmp_path / "key").touch()
    host = InventoryHost(
        name="a",
        destination="root@10.0.3.7",
        port=2222,
        identity=tmp_path / "key",
        options={"UserKnownHostsFile": "/a folder/known", "ConnectTimeout": "3"},
    )
    command = ssh_command(host, database)
    assert not any("secret" in word for word in command)
    found = settings(command)
    expected = {
        "hostname": "10.0.3.7",
        "user": "root",
        "port": "2222",
        "identityfile": str(tmp_path / "key"),
        "identitiesonly": "yes",
        "userknownhostsfile": "/a folder/known",
        "connecttimeout": "3",
        "batchmode": "yes",
        "passwordauthentication": "no",
        "kbdinteractiveauthentication": "no",
        "preferredauthentications": "publickey",
        "stricthostkeychecking": "true",
        "exitonforwardfailure": "yes",
        "serveraliveinterval": "5",
        "serveralivecountmax": "3",
        "remoteforward": "[127.0.0.1]:0 [db.lan]:6543",
        "controlmaster": "false",
        "requesttty": "false",
        "forwardagent": "no",
    }
    assert {name: found[name] for name in expected} == expected


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Z"]), min_size=1))
def test_a_shell_reads_the_remote_command_as_it_is_meant(python: str) -> None:
    try:
        host = InventoryHost(name="a", destination="a", python=python, agent=AgentOptions(name="a", labels={"k": "v"}))
    except SpecError:
        return
    tether = [python, "-m", "servefit.search.fleet.launching.tether"]
    assert shlex.split(remote_command(host)) == [
        *(*tether, python, "-m", "servefit", "agent", "--name", "a", "--label", "k=v")
    ]


@pytest.mark.parametrize(
    ("url", "target", "through"),
    [
        ("postgresql://u@db.lan/d", "db.lan:5432", "u@db.lan:40001/d?hostaddr=127.0.0.1"),
        ("postgresql://u@[::1]:6543/d", "[::1]:6543", "u@[::1]:40001/d?hostaddr=127.0.0.1"),
        ("postgresql://u@/d?host=db.lan&port=7", "db.lan:7", "u@db.lan:40001/d?hostaddr=127.0.0.1"),
        ("postgresql://u@/d", "/var/run/postgresql/.s.PGSQL.5432", "u@127.0.0.1:40001/d?hostaddr=127.0.0.1"),
        ("postgresql://u@/d?host=/tmp/", "/tmp/.s.PGSQL.5432", "u@127.0.0.1:40001/d?hostaddr=127.0.0.1"),
        (
            "postgresql://u@db.lan/d?hostaddr=10.0.0.5&sslmode=verify-full",
            "10.0.0.5:5432",
            "u@db.lan:40001/d?hostaddr=127.0.0.1&sslmode=verify-full",
        ),
    ],
)
def test_the_agent_connects_to_its_end_of_the_tunnel_and_knows_the_server_by_its_name(
    url: str, target: str, through: str
) -> None:
    database = tunnelled(url)
    assert database.target == target
    assert database.url_through(40001) == f"postgresql+psycopg://{through}"


@given(st.text(min_size=1), st.text(min_size=1))
def test_users_and_passwords_arrive_as_they_are(user: str, password: str) -> None:
    url = URL.create("postgresql", user, password, "db.lan", 5432, "d").render_as_string(hide_password=False)
    through = make_url(tunnelled(url).url_through(40001))
    assert (through.username, through.password, through.port) == (user, password, 40001)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "is needed"),
        ("sqlite:////folder/jobs.db", "cannot hold a fleet"),
        ("nonsense", "is not the URL of a database"),
        ("postgresql://u@a,b/d", "several servers"),
        ("postgresql://u@/d?host=a&host=b", "several servers"),
        ("postgresql://u@/d?host=a,b", "several servers"),
        ("postgresql://u@a/d?port=none", "which is none"),
        ("postgresql://u@a/d?service=fleet", "has a service"),
        ("postgresql://u@/d?host=@abstract", "abstract socket"),
    ],
)
def test_a_database_that_no_tunnel_leads_to_is_refused(url: str | None, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        tunnelled(url)
