"""The memory that a pod requests: as much as was measured, and some more."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.search.deployment.bundle.contents import Contents

HEADROOM = 1.5
"""A few minutes of load do not show all that hours of it take. Chosen, not measured."""

MIN_HEADROOM_MIB = 64
"""A supervisor is a Python of 20 MiB, which workers that are measured without HTTP do not have; and the buffers of a
worker grow with what it is sent."""

_MEBIBYTE = 2**20


def requested_mib(contents: Contents) -> int:
    """Return the memory that is set aside for the endpoint, in MiB: no more than the profile has."""
    used_bytes = contents.deployable.used_bytes
    if used_bytes is None:
        return contents.memory_mib
    used_mib = used_bytes / _MEBIBYTE
    return min(ceil(max(HEADROOM * used_mib, used_mib + MIN_HEADROOM_MIB)), contents.memory_mib)


def own_cpus(contents: Contents) -> str:
    """Return in a sentence what it takes to get CPUs that no other pod uses."""
    own = "a pod gets CPUs of its own, from a kubelet with the static CPU manager policy"
    if requested_mib(contents) == contents.memory_mib:
        return f"Since it requests all that it is limited to, {own}"
    return f"If it requests all that it is limited to, {contents.memory_mib}Mi, {own}"


def why_requested(contents: Contents) -> str:
    """Return in a sentence where the requested memory comes from."""
    used_bytes = contents.deployable.used_bytes
    if used_bytes is None:
        return f"A pod requests the memory of {contents.deployable.profile.name}, since nothing was measured"
    return (
        f"All processes together were measured to take {ceil(used_bytes / _MEBIBYTE):,} MiB; a pod requests "
        f"{HEADROOM:g} times as much, at least {MIN_HEADROOM_MIB} MiB more, and at most what "
        f"{contents.deployable.profile.name} has"
    )
