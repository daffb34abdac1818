"""Hosts imitated by network namespaces of Linux: each has a network card, a CPU, a microcode and a measuring slot of
its own, and all are plugged into one bridge, which has an address on which a database may listen.

What two namespaces share is the rest of the machine: its memory, its caches and its clock.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_NETWORK = "198.18"
"""Of the addresses for tests of networks (RFC 2544), which nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceHost:
    """An imitated host. ``cpuinfo`` is what its processes see in the place of /proc/cpuinfo."""

    name: str
    namespace: str
    cable: str
    address: str
    cpu: int
    cpuinfo: Path
    folder: Path

    def command(self, *command: str) -> list[str]:
        """Return how ``command`` is started there."""
        # `ip netns exec` would hide the control groups, which the host has too.
        entering = ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--mount", "sh", "-c"]
        script = 'mount --bind "$0" /proc/cpuinfo && exec "$@"'
        return [*entering, script, str(self.cpuinfo), "taskset", "--cpu-list", str(self.cpu), *command]

    def environment(self, url: str) -> dict[str, str]:
        return {
            **os.environ,
            "SERVEFIT_STORAGE": url,
            "SERVEFIT_HOME": str(self.folder / "state"),
            "SERVEFIT_SLOT": str(self.folder / "slot"),
        }

    def unplug(self) -> None:
        """Pull the cable: nothing comes through, and nobody is told."""
        _ip("link", "set", self.cable, "down")

    def plug_in(self) -> None:
        _ip("link", "set", self.cable, "up")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The hosts by name, and the ``address`` of the machine that they all reach."""

    address: str
    hosts: dict[str, NamespaceHost]


@contextmanager
def network(folder: Path, names: tuple[str, ...], cpus: tuple[int, ...]) -> Iterator[Network]:
    """Have hosts of these ``names``, each with one of the ``cpus``, until the block ends, however that ends."""
    own = f"sf{os.getpid()}"
    subnet = f"{_NETWORK}.{os.getpid() % 250 + 1}"
    with ExitStack() as stack:
        _ip("link", "add", own, "type", "bridge")
        stack.callback(_ip, "link", "delete", own)
        _ip("address", "add", f"{subnet}.1/24", "dev", own)
        _ip("link", "set", own, "up")
        hosts = {}
        for nth, (name, cpu) in enumerate(zip(names, cpus, strict=True)):
            namespace, cable = f"{own}-{nth}", f"{own}-{nth}"
            _ip("netns", "add", namespace)
            stack.callback(_ip, "netns", "delete", namespace)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            # It would go with the namespace, but some time later: the next network has one of the same name.
            stack.callback(_ip, "link", "delete", cable)
            _ip("link", "set", cable, "master", own, "up")
            _ip("-netns", namespace, "address", "add", f"{subnet}.{nth + 2}/24", "dev", "eth0")
            for card in ("lo", "eth0"):
                _ip("-netns", namespace, "link", "set", card, "up")
            own_folder = folder / name
            (own_folder / "slot").mkdir(parents=True)
            hosts[name] = NamespaceHost(
                name=name,
                namespace=namespace,
                cable=cable,
                address=f"{subnet}.{nth + 2}",
                cpu=cpu,
                cpuinfo=_cpuinfo(own_folder, nth),
                folder=own_folder,
            )
        yield Network(address=f"{subnet}.1", hosts=hosts)


def skip_without_namespaces() -> None:
    """Skip the test where no namespaces can be made, or there are not two CPUs for two hosts."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two hosts with a CPU of their own take two CPUs")
    if os.geteuid() != 0:
        pytest.skip("network namespaces are for root to make")
    if shutil.which("ip") is None:
        pytest.skip("scripts/test installs what makes network namespaces (Debian: apt-get install iproute2)")
    probe = f"sf{os.getpid()}-probe"
    tried = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this machine lets nobody make network namespaces: {tried.stderr.strip()}")
    _ip("netns", "delete", probe)
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this machine lets nobody make mount namespaces: {tried.stderr.strip()}")


def _cpuinfo(folder: Path, nth: int) -> Path:
    """Write what /proc/cpuinfo says, with another microcode for each host, so that they are no twins."""
    text = re.sub(r"(?m)^microcode\s*:.*\n", "", Path("/proc/cpuinfo").read_text())
    path = folder / "cpuinfo"
    path.write_text(re.sub(r"(?m)^(processor\s*:.*\n)", rf"\1microcode\t: 0x{nth + 1:x}\n", text))
    return path


def _ip(*arguments: str) -> None:
    ended = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, f"ip {' '.join(arguments)}: {ended.stderr}"
