"""Traffic shapes by their text: "poisson", "sine:amplitude=50%,period=2s", "replay:access.log,speed=10".

servefit's own are in the table below. A package adds one by pointing an entry point of the group ``servefit.arrivals``
at a class that derives from :class:`~servefit.profiler.arrivals.contract.Arrivals`, which is imported once somebody
asks for it by name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from servefit.errors import ServefitError, SpecError
from servefit.plug_ins import PlugIns, raised_text
from servefit.profiler.arrivals.parameters import FIELD, parse_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.profiler.arrivals.contract import Arrivals

BUILT_IN = {
    "poisson": "servefit.profiler.arrivals.poisson:Poisson",
    "constant": "servefit.profiler.arrivals.constant:ConstantRate",
    "steps": "servefit.profiler.arrivals.steps:Steps",
    "ramp": "servefit.profiler.arrivals.ramp:Ramp",
    "sine": "servefit.profiler.arrivals.sine:Sine",
    "bursts": "servefit.profiler.arrivals.bursts:Bursts",
    "replay": "servefit.profiler.arrivals.replay:Replay",
}

TYPED = (
    "How requests arrive at the rate: poisson, constant, steps:rates=100/s+300/s, ramp:from=0,to=500/s, "
    "sine:amplitude=50%,period=4s, bursts:factor=4,burst=100ms,quiet=300ms or replay:FILE,speed=1,loop=yes. Without a "
    "rate those that name rates come at their own."
)
"""The texts that may be typed, for the help of every command that sends requests at a rate."""

SHAPES = PlugIns(field=FIELD, group="servefit.arrivals", built_in=BUILT_IN)


def shape_names() -> tuple[str, ...]:
    """Return the names of all shapes: the built-in ones first, then those of other packages in alphabetical order."""
    return SHAPES.names()


def arrivals_named(text: str, *, folder: Path | None = None) -> Arrivals:
    """Find the shape that ``text`` spells.

    Args:
        text: A name, and after a colon its parameters: "sine:amplitude=50%,period=2s".
        folder: The folder that paths in it are relative to; the current one if None.

    Returns:
        The shape. Files that it names are not opened.

    Raises:
        SpecError: nobody offers the name, several packages do, or a parameter makes no sense.

    Example:
        >>> str(arrivals_named("sine:period=500ms"))
        'sine:amplitude=0.5,period=0.5s'
    """
    from pathlib import Path

    if not isinstance(text, str):
        raise SpecError(FIELD, text, "is no text such as poisson or sine:period=2s")
    return _make_shape(text, folder or Path.cwd())


@lru_cache(maxsize=64)
def _make_shape(text: str, folder: Path) -> Arrivals:
    from servefit.profiler.arrivals.contract import Arrivals

    name, _, parameters = text.strip().partition(":")
    shape = SHAPES.imported(name)
    if not (isinstance(shape, type) and issubclass(shape, Arrivals)):
        package = SHAPES.package_of(name)
        raise SpecError(FIELD, name, f"is offered by {package} as something that is no class of Arrivals")
    if name in BUILT_IN:
        return shape(**parse_parameters(shape, name, parameters, folder))
    return _make_guarded(shape, name, parameters, folder)


def _make_guarded(shape: type[Arrivals], name: str, parameters: str, folder: Path) -> Arrivals:
    """Make a shape of another package. Raises SpecError with the name of the package."""
    from servefit.profiler.arrivals.guarded import GuardedShape

    package = SHAPES.package_of(name)
    remedy = "mend the class that its package offers"
    own_name = getattr(shape, "name", None)
    if own_name != name:
        which = "without a name" if own_name is None else f"that calls itself {own_name}"
        raise SpecError(FIELD, name, f"of {package} leads to a class {which}", remedy=remedy)
    try:
        made = shape(**parse_parameters(shape, name, parameters, folder))
    except (ServefitError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        problem = f"of {package} cannot be made: it {raised_text(error)}"
        raise SpecError(FIELD, name, problem, remedy=remedy) from error
    return GuardedShape(shape=made, offered_as=name, package=package)
