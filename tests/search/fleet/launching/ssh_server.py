"""An SSH server of the tests' own on 127.0.0.1, with keys made for it, and hosts that are reached through it.

What runs on a host as its Python is a script: it carries the tether out with the Python of the tests, and an agent of
the tests' own in place of servefit's, which says what it was given.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from servefit.processes import descendants

_SERVER = Path("/usr/sbin/sshd")

_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowTcpForwarding {forwarding}
"""

_PYTHON = """\
#!/bin/sh
# $1 is -m, $2 the module
case $2 in
    servefit) exec {python} {agent} "$@" ;;
    *) exec {python} "$@" ;;
esac
"""


@dataclass(frozen=True, kw_only=True)
class SshServer:
    """A server that runs. ``folder`` has its keys: ``key`` is let in, ``other_key`` is not."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def other_key(self) -> Path:
        return self.folder / "other_key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def cut(self) -> None:
        """Kill the processes of all connections, as a host that is reset does. The server goes on."""
        for pid in descendants(self.process.pid):
            with suppress(ProcessLookupError):
                if "sshd" in Path(f"/proc/{pid}/comm").read_text():
                    os.kill(pid, signal.SIGKILL)

    def python(self, agent: str) -> Path:
        """Return a Python whose servefit is the script ``agent``."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "agent.py").write_text(agent)
        python = folder / "python"
        python.write_text(_PYTHON.format(python=sys.executable, agent=folder / "agent.py"))
        python.chmod(0o755)
        return python


@contextmanager
def ssh_server(*, forwarding: bool = True) -> Iterator[SshServer]:
    """Start a server for as long as the block lasts."""
    if not _SERVER.exists():
        pytest.fail(
            "there is no SSH server to test with: scripts/test installs one (Debian: apt-get install openssh-server)"
        )
    folder = Path(tempfile.mkdtemp(prefix="servefit-ssh-"))
    # As root sshd wants it there, and the package's own service is what makes it.
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    try:
        for name in ("host_key", "key", "other_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        port = free_port()
        (folder / "authorized_keys").write_text((folder / "key.pub").read_text())
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
        (folder / "config").write_text(
            _CONFIG.format(port=port, folder=folder, forwarding="yes" if forwarding else "no")
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [_SERVER, "-D", "-e", "-f", folder / "config"], stdin=subprocess.DEVNULL, stderr=log
            )
        try:
            wait_for_port(port)
            yield SshServer(folder=folder, port=port, process=process)
        finally:
            for pid in {process.pid, *descendants(process.pid)}:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
    finally:
        shutil.rmtree(folder)


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int, *, patience_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline_s, "the SSH server does not listen"
            time.sleep(0.02)
        else:
            return
