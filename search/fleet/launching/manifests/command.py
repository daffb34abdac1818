"""The agent's command in manifests, and the names of what they make."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.search.fleet.launching.inventory import check_python

if TYPE_CHECKING:
    from servefit.search.fleet.launching.agent_options import AgentOptions

USUAL_NAME = "servefit-agent"

IDLE_EXIT_S = 120.0
"""Lent nodes are given back once they had nothing to do for so long: the pauses between the tests of a job are seconds.
Chosen, not measured."""

_LABEL = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")


def agent_command(agent: AgentOptions, python: str) -> list[str]:
    return [python, "-m", "servefit", "agent", *agent.arguments()]


def checked_name(name: str | None) -> str:
    """Return the name of a job or an object, which Kubernetes and SLURM both take. Raises SpecError."""
    if name is not None and not _LABEL.fullmatch(name):
        raise SpecError("name", name, "is not up to 40 small letters, digits and dashes that begin with a letter")
    return USUAL_NAME if name is None else name


def checked_python(python: str | None) -> str:
    """Return the path of the Python that is to run agents: this one where none is named. Raises SpecError."""
    if python is None:
        return sys.executable
    check_python("python", python)
    if not python.startswith("/"):
        raise SpecError("python", python, "is no absolute path", remedy="write it as it is on the hosts")
    return python
