"""The unit that runs a bundle under systemd, with the CPUs and the memory of the profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.search.deployment.bundle.contents import PORT
from servefit.search.deployment.bundle.secret_files import VARIABLES
from servefit.search.deployment.deployable import configuration_text, cpu_ranges

if TYPE_CHECKING:
    from servefit.search.deployment.bundle.contents import Contents

_UNIT = """\
# {what}
#
# The CPUs are those that were measured. On another machine name as many of its own, whole cores, and leave interrupts
# and other work to the rest. {folder} is a link to a version of the bundle: README.md says how one takes the place of
# another. Another link has to be changed in all lines that name it.
[Unit]
Description={name}: {shape}
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
WorkingDirectory={folder}
# With all rights (+), since the service itself cannot write there; done once
ExecStartPre=+{folder}/run install
ExecStart={folder}/run serve
Environment=SERVEFIT_HOST=127.0.0.1 SERVEFIT_PORT={port}
{environment}{secrets}
# The envelope: CPUs by mask and by control group, memory without swap
CPUAffinity={cpus}
AllowedCPUs={cpus}
MemoryMax={memory_bytes}
MemorySwapMax=0

# SIGTERM goes to the supervisor, which lets its workers finish; what is left after the time is killed
KillMode=mixed
TimeoutStartSec=900
TimeoutStopSec={stop_s}
Restart=on-failure
RestartSec=1

# A user that exists while it runs and owns nothing
DynamicUser=yes
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
{devices}ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
CapabilityBoundingSet=
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def unit(contents: Contents) -> str:
    """Return the text of LABEL.service."""
    configuration, profile = contents.deployable.configuration, contents.deployable.profile
    return _UNIT.format(
        what=f"{contents.config.name} as it was measured on {profile.name}",
        name=contents.config.name,
        shape=configuration_text(configuration),
        folder=contents.current,
        port=PORT,
        environment="".join(
            f"Environment={_quoted(f'{name}={value}')}\n"
            for name, value in (contents.gpu_environment | contents.environment).items()
        ),
        # Read by root, before the user of the service is there
        secrets=f"EnvironmentFile={contents.current}/{VARIABLES}\n" if contents.secrets else "",
        cpus=cpu_ranges(contents.cpus),
        memory_bytes=profile.memory_bytes,
        stop_s=contents.stop_s,
        # A GPU is a device.
        devices="" if contents.on_gpu else "PrivateDevices=yes\n",
    )


def _quoted(text: str) -> str:
    """Return ``text`` as a word that systemd reads: % begins a specifier, and within quotes a backslash begins an
    escape."""
    escaped = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
