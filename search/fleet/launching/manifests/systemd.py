"""The unit that keeps an agent running under systemd."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from servefit.search.fleet.launching.handover import STORAGE_VARIABLE
from servefit.search.fleet.launching.manifests.command import USUAL_NAME, agent_command, checked_python

if TYPE_CHECKING:
    from servefit.search.fleet.launching.agent_options import AgentOptions

_VARIABLES = "/etc/servefit/agent.env"

_UNIT = """\
# servefit fleet manifest systemd > /etc/systemd/system/{name}.service
# Before the first start, as root, make a file that root alone can read (mode 0600) and write the database into it:
#   install -D -m 0600 /dev/null {variables}
#   {storage}='postgresql://user:password@server/database'
# Then: systemctl daemon-reload && systemctl enable --now {name}
[Unit]
Description=servefit agent, which measures on this host for a fleet
Wants=network-online.target
After=network-online.target
# A database may be away for longer than any number of attempts takes
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
EnvironmentFile={variables}
# Models, artifacts, and results that could not be delivered yet
StateDirectory=servefit
StateDirectoryMode=0700
Environment=SERVEFIT_HOME=%S/servefit
Restart=on-failure
RestartSec=5
# Wrong options, or a name that another agent has: starting again does not cure that
RestartPreventExitStatus=2
# SIGTERM goes to the agent, which ends what it measures; what is left after the time is killed
KillMode=mixed
TimeoutStopSec=15

# Control groups for what is measured are made below that of the unit. One whose memory runs out is a result, and no
# reason to end the agent.
Delegate=yes
OOMPolicy=continue

# A user that exists while it runs and owns nothing. Left to it are control groups, devices (GPUs), and /run/lock, where
# the measuring slot is.
DynamicUser=yes
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=/run/lock
ProtectHome=read-only
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=no
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
CapabilityBoundingSet=
UMask=0077

[Install]
WantedBy=multi-user.target
"""

_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")


def unit(agent: AgentOptions, *, python: str | None = None) -> str:
    """Return the text of servefit-agent.service. ``python`` is an absolute path there, None is that of this Python.
    Raises SpecError."""
    python, *arguments = agent_command(agent, checked_python(python))
    return _UNIT.format(
        name=USUAL_NAME,
        variables=_VARIABLES,
        storage=STORAGE_VARIABLE,
        # What an agent is told has no characters that mean something to systemd.
        command=" ".join([_path(python), *arguments]),
    )


def _path(text: str) -> str:
    """Return a path as the first word of ExecStart: % begins a specifier, and no variables are put in there."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace("%", "%%")
    return f'"{escaped}"'
