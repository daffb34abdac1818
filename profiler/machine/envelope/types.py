"""The interface of an open envelope, by whatever method it is enforced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

Containment: TypeAlias = Literal["cgroup", "uncontained"]
EnvelopeMethod: TypeAlias = Literal["cgroup-v2", "cgroup-v1", "systemd-scope", "affinity"]


class Envelope(Protocol):
    """CPUs and memory that processes are held to.

    A process enters it by being started with :meth:`command` and by writing its own process id into each of
    ``join_files`` before it does anything else. It then sets its affinity to ``cpus``, which under "affinity" is all
    that there is, and elsewhere undoes a narrower mask that it inherited. ``memory_limit_bytes`` is what is enforced,
    swap included: whole pages, or None where nothing is.
    """

    @property
    def method(self) -> EnvelopeMethod: ...

    @property
    def containment(self) -> Containment: ...

    @property
    def cpus(self) -> tuple[int, ...]: ...

    @property
    def memory_limit_bytes(self) -> int | None: ...

    @property
    def join_files(self) -> tuple[str, ...]: ...

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return what to start in place of ``argv``; the process keeps the id, descriptors and environment it gets."""
        ...

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed for memory in here (under "affinity": on the whole machine)
        since the envelope was opened."""
        ...

    def kill(self) -> None:
        """Kill every process inside, daemonised grandchildren too; they are gone on return. The envelope stays open.

        Raises MeasurementError if one of them survives.
        """
        ...
