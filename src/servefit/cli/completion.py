"""What a shell completes for the value of an option: names of jobs, backends and profiles, or one of a few words.

That is asked while somebody types. So nothing here opens a database or loads a library, and what cannot be read
completes to nothing: an error would land in the middle of a command.
"""

from __future__ import annotations

from collections.abc import Callable

from servefit.errors import ServefitError


def job_names(incomplete: str) -> list[str]:
    """The jobs that have a folder on this host."""
    from servefit.state import state_folder

    try:
        names = [folder.name for folder in state_folder("jobs").iterdir() if folder.is_dir()]
    except (ServefitError, OSError):
        return []
    return _beginning(incomplete, sorted(name for name in names if not name.startswith(".")))


def profile_names(incomplete: str) -> list[str]:
    """The instance profiles of this host, of the catalogue and of the user."""
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.profiles import all_profiles

    try:
        return _beginning(incomplete, [one.name for one in all_profiles(describe_host())])
    except (ServefitError, OSError):
        return []


def backend_names(incomplete: str) -> list[str]:
    """The backends, whether they run here or not."""
    from servefit.backends import registry

    return _beginning(incomplete, registry.backend_names())


def shape_names(incomplete: str) -> list[str]:
    """The shapes of arrivals."""
    from servefit.profiler.arrivals import registry

    return _beginning(incomplete, registry.shape_names())


def goal_names(incomplete: str) -> list[str]:
    """The objectives that a job may have, those of other packages too."""
    from servefit.search.request.goals import OBJECTIVES

    return _beginning(incomplete, OBJECTIVES.names())


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Completes to one of ``words``."""

    def complete(incomplete: str) -> list[str]:
        return _beginning(incomplete, words)

    return complete


def _beginning(incomplete: str, words: tuple[str, ...] | list[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
