"""Completions of the value of an option: names of jobs, backends and profiles, or one of a few words.

A shell asks for them while somebody types. So nothing here opens a database or loads a library, and where names cannot
be read there are no completions: an error message would appear in the middle of a command.
"""

from __future__ import annotations

from collections.abc import Callable

from servefit.errors import ServefitError


def job_names(incomplete: str) -> list[str]:
    """Return the matching names of the jobs that have a folder on this host."""
    from servefit.state import state_folder

    try:
        names = [folder.name for folder in state_folder("jobs").iterdir() if folder.is_dir()]
    except (ServefitError, OSError):
        return []
    return _matching(incomplete, sorted(name for name in names if not name.startswith(".")))


def profile_names(incomplete: str) -> list[str]:
    """Return the matching names of instance profiles: of this host, of the catalogue and of the user."""
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.profiles import all_profiles

    try:
        return _matching(incomplete, [profile.name for profile in all_profiles(describe_host())])
    except (ServefitError, OSError):
        return []


def priced_names(incomplete: str) -> list[str]:
    """Return the matching names that ``servefit prices`` takes: of instance profiles, and of this host."""
    return [*_matching(incomplete, ["local"]), *profile_names(incomplete)]


def backend_names(incomplete: str) -> list[str]:
    """Return the matching names of backends, whether they run here or not."""
    from servefit.backends.finding import registry

    return _matching(incomplete, registry.backend_names())


def shape_names(incomplete: str) -> list[str]:
    """Return the matching names of shapes of arrivals."""
    from servefit.profiler.arrivals import registry

    return _matching(incomplete, registry.shape_names())


def goal_names(incomplete: str) -> list[str]:
    """Return the matching names of the objectives that a job may have, those of other packages too."""
    from servefit.search.request.goals import OBJECTIVES

    return _matching(incomplete, OBJECTIVES.names())


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Return a function that completes to one of ``words``."""

    def complete(incomplete: str) -> list[str]:
        return _matching(incomplete, words)

    return complete


def _matching(incomplete: str, words: tuple[str, ...] | list[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
