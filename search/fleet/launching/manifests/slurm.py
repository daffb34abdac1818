"""The script with which SLURM lends whole nodes to agents."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.checks import check_whole
from servefit.errors import SpecError
from servefit.search.fleet.launching.handover import STORAGE_VARIABLE
from servefit.search.fleet.launching.manifests.command import IDLE_EXIT_S, agent_command, checked_name, checked_python

if TYPE_CHECKING:
    from servefit.search.fleet.launching.agent_options import AgentOptions

_SCRIPT = """\
#!/bin/bash
# servefit fleet manifest slurm > agents.sbatch && sbatch agents.sbatch
# Before the first time, make a file that you alone can read (mode 0600) and write the database into it:
#   install -D -m 0600 /dev/null ~/.config/servefit/agent.env
#   {storage}='postgresql://user:password@server/database'
#
# One job for each node, so that each begins as soon as a node is free
#SBATCH --job-name={name}
#SBATCH --array=1-{nodes}
#SBATCH --nodes=1
#SBATCH --ntasks=1
{partition}# The whole node, and all of its memory: nobody else runs beside what is measured
#SBATCH --exclusive
#SBATCH --mem=0
# What a node that failed was measuring is not measured again by itself
#SBATCH --no-requeue
# A minute before the time limit the agent is told to end
#SBATCH --signal=B:TERM@60
# Variables of whoever submits this, which may hold secrets, stay there
#SBATCH --export=NONE
#SBATCH --output={name}-%A-%a.log
set -euo pipefail

variables=$HOME/.config/servefit/agent.env
if [[ $(stat --dereference --format=%a "$variables") != [46]00 ]]; then
    echo "$variables can be read by others; say chmod 600 $variables" >&2
    exit 2
fi
set -o allexport
source "$variables"
set +o allexport
: "${{{storage}:?is not set in $variables}}"

# The agent in place of this shell, which SLURM signals
exec {command} --name "$SLURMD_NODENAME"
"""

_PARTITION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:,[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def script(
    agent: AgentOptions,
    *,
    name: str | None = None,
    nodes: int = 1,
    partition: str | None = None,
    python: str | None = None,
) -> str:
    """Return a script for sbatch that starts an agent on each of ``nodes`` nodes, called as the node.

    Args:
        agent: What agents are told, without a name. They end when idle, after 120 s unless it says otherwise.
        name: The name of the job.
        nodes: So many nodes, each as soon as it is free.
        partition: The partition, or several with commas between; None is the usual one.
        python: An absolute path there; None is that of this Python.

    Raises SpecError.
    """
    check_whole("nodes", nodes, least=1)
    if partition is not None and not _PARTITION.fullmatch(partition):
        raise SpecError("partition", partition, "is not the name of a partition")
    lent = agent if agent.idle_exit_s is not None else replace(agent, idle_exit_s=IDLE_EXIT_S)
    return _SCRIPT.format(
        storage=STORAGE_VARIABLE,
        name=checked_name(name),
        nodes=nodes,
        partition="" if partition is None else f"#SBATCH --partition={partition}\n",
        command=shlex.join(agent_command(lent, checked_python(python))),
    )
