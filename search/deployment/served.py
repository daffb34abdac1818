"""A deployable as an endpoint on this host, in the envelope of its profile: for a command in the foreground, and for
Python, where it runs until it is stopped."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from servefit.errors import SpecError
from servefit.profiler.drivers.hosted_endpoint import Hosted, hosted_endpoint
from servefit.profiler.machine.cpus import choose_cpus
from servefit.search.deployment.deployable import configuration_text

if TYPE_CHECKING:
    from servefit.search.deployment.deployable import Deployable
    from servefit.serving.config import EndpointConfig

LOAD_TIMEOUT_S = 600.0
"""The largest models take minutes to load, and a user who waits can interrupt. Chosen, not measured."""


@contextmanager
def hosting(deployable: Deployable, config: EndpointConfig) -> Iterator[Hosted]:
    """Serve ``config``, an endpoint of ``deployable``, where it says, held to the CPUs and the memory of the profile
    while the block lasts.

    Raises SpecError where this host cannot be the profile, or the address cannot be listened on; WorkerCrashed,
    OutOfMemory and TimedOut where it does not come up.
    """
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.profiles import why_not_measurable

    profile, host = deployable.profile, describe_host()
    if reason := why_not_measurable(profile, host):
        raise SpecError("profile", profile.name, f"cannot be had here: it {reason}")
    check_address(config.host, config.port)
    with hosted_endpoint(
        config,
        cpus=choose_cpus(host.cpus, profile.vcpus),
        memory_bytes=profile.memory_bytes,
        load_timeout_s=LOAD_TIMEOUT_S,
        address=(config.host, config.port),
    ) as hosted:
        yield hosted


def check_address(host: str, port: int) -> bool:
    """Return whether only this machine reaches ``host``. Raises SpecError for an address that cannot be listened on;
    said before anything is loaded, it is not one of many reasons why an endpoint does not come up."""
    from servefit.serving.listening import bind, is_reachable

    bound = bind(host, port)
    reachable = any(map(is_reachable, bound))
    for listening in bound:
        listening.close()
    return not reachable


class ServedEndpoint:
    """An endpoint that serves, made by ``serve``, at ``url``, with the model under ``name``.

    It serves until :meth:`stop`, the end of a ``with`` block, or the end of the thread that started it; also when
    nothing refers to it any more.
    """

    def __init__(self, deployable: Deployable, config: EndpointConfig) -> None:
        with ExitStack() as stack:
            hosted = stack.enter_context(hosting(deployable, config))
            self._close = weakref.finalize(self, stack.pop_all().close)
        self._hosted = hosted
        self._grace_s = config.limits.grace_s
        self._shape = configuration_text(deployable.configuration)
        self.name = config.name
        self.url = hosted.url
        self.load_s = hosted.load_s

    @property
    def containment(self) -> str:
        """The means that holds it to its CPUs and its memory: "cgroup", or "uncontained" where nothing does."""
        return self._hosted.envelope.containment

    @property
    def cpus(self) -> tuple[int, ...]:
        return self._hosted.envelope.cpus

    @property
    def pids(self) -> tuple[int, ...]:
        """Its processes, the supervisor first; none once it is stopped."""
        return self._hosted.pids if self._close.alive else ()

    def stop(self) -> None:
        """Let it answer what it has accepted, then end it; a second call does nothing. Raises the error for an endpoint
        that had ended by itself."""
        if not self._close.alive:
            return
        try:
            self._hosted.check()
            self._hosted.tell_to_stop()
            self._hosted.wait(self._grace_s + _PATIENCE_S)
        finally:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"at {self.url}" if self._close.alive else "stopped"
        return f"<{type(self).__name__} {self.name} {state}: {self._shape}>"


_PATIENCE_S = 5.0
"""An endpoint may take so much longer than its grace to end, before it is killed. Chosen, not measured."""


def serve(deployable: Deployable, *, name: str | None = None, host: str = "127.0.0.1", port: int = 0) -> ServedEndpoint:
    """Serve ``deployable`` at ``host`` and ``port`` (0: any that is free), without waiting for anything but that it is
    ready. Raises as :func:`hosting`."""
    return ServedEndpoint(deployable, deployable.endpoint(name=name, host=host, port=port))
