"""Asks a backend of another package in a child process, all at once, and checks its answers.

Whatever it does wrong becomes a phrase that says so. The answers leave the child as JSON and not as a pickle: whoever
unpickled an object of the package would import the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Any

from servefit.backends.finding.registry import entry_point
from servefit.backends.types import Availability, Knob, KnobValue, Precision, Target

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.types import Backend
    from servefit.plug_ins import Package

_MAX_SHOWN = 300
"""So many characters of what a package says are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswers:
    """The answers of a backend about a model. ``knobs`` are by target: those for one vCPU, for two, and so on."""

    supported: Availability
    compile_estimate_s: float = 0.0
    knobs: dict[Target, list[tuple[Knob, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers of a backend about itself, and about a model where it was asked about one."""

    targets: dict[Target, Availability]
    cache_key: str
    precision: Precision = Precision.EXACT
    calibrates: bool = False
    model: ModelAnswers | None = None

    @classmethod
    def refusing(cls, refusal: Availability) -> Answers:
        """Return those of a backend that cannot be asked."""
        return cls(targets=dict.fromkeys(Target, refusal), cache_key="", model=ModelAnswers(supported=refusal))


class _BrokenContract(Exception):
    """A backend does not keep its contract; the message says how."""


def refusal(problem: str, package: Package) -> Availability:
    """Return the refusal of a backend with a ``problem``, which ``package`` brought."""
    return Availability.no(
        one_line(f"{problem} (package {package})"), remedy=one_line(f"update or uninstall {package.name}")
    )


def one_line(text: str) -> str:
    """Return ``text`` without line breaks and control characters, and not too long."""
    printable = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return printable if len(printable) <= _MAX_SHOWN else f"{printable[: _MAX_SHOWN - 3]}..."


def answer(name: str, package: Package, model: Model | None, vcpus: int) -> bytes:
    """Return the Answers of the backend ``name``, as JSON: of ``model`` too, if there is one, with the knobs for
    envelopes of up to ``vcpus``. What is broken is a refusal."""
    import msgspec

    try:
        backend = _imported(name)
        answers = Answers(
            targets={target: _probed(backend, target, package) for target in Target},
            cache_key=_cache_key(backend),
            precision=_precision(backend),
            calibrates=_calibrates(backend),
            model=None if model is None else _about(backend, model, vcpus, package),
        )
    except _BrokenContract as broken:
        answers = Answers.refusing(refusal(str(broken), package))
    return msgspec.json.encode(answers)


def _call(what: str, call: Callable[[], Any]) -> Any:
    """Return what ``call`` does. Raises _BrokenContract for whatever it raises."""
    try:
        return call()
    except BaseException as error:
        raise _BrokenContract(f"{what} raised {type(error).__name__}: {error}") from error


def _ask(backend: Backend, method: str, *arguments: Any) -> Any:
    return _call(f"its {method}", lambda: getattr(backend, method)(*arguments))


def _imported(name: str) -> Backend:
    point = entry_point(name)
    offered = _call(f"importing {point.value!r}", point.load)
    if not callable(offered):
        raise _BrokenContract(
            f"its entry point {point.value!r} is a {type(offered).__name__}, and not a class of backends"
        )
    backend: Backend = _call("making it", offered)
    if isinstance(backend, type):
        raise _BrokenContract(f"its entry point {point.value!r} makes a {type(backend).__name__}, and not a backend")
    own_name = _call("its name", lambda: backend.name)
    if own_name != name:
        raise _BrokenContract(f"it is called {own_name!r}, and not {name!r} as its entry point")
    return backend


def _cache_key(backend: Backend) -> str:
    key = _ask(backend, "cache_key")
    if not isinstance(key, str):
        raise _BrokenContract(f"its cache_key gave a {type(key).__name__}, and not a str")
    return str(key)


def _precision(backend: Backend) -> Precision:
    got = _call("its precision", lambda: getattr(backend, "precision", Precision.EXACT))
    names = [precision.value for precision in Precision]
    if got not in names:
        raise _BrokenContract(f"its precision is {got!r}, and not one of {', '.join(names)}")
    return Precision(got)


def _calibrates(backend: Backend) -> bool:
    got = _call("its calibrates", lambda: getattr(backend, "calibrates", False))
    if not isinstance(got, bool):
        raise _BrokenContract(f"its calibrates is a {type(got).__name__}, and not a bool")
    return got


def _probed(backend: Backend, target: Target, package: Package) -> Availability:
    try:
        return _availability("probe", _ask(backend, "probe", target))
    except _BrokenContract as broken:
        return refusal(str(broken), package)


def _about(backend: Backend, model: Model, vcpus: int, package: Package) -> ModelAnswers:
    """Return the answers about ``model``. A backend that does not support it is asked nothing more."""
    try:
        supported = _availability("supports", _ask(backend, "supports", model))
        if not supported.available:
            return ModelAnswers(supported=supported)
        return ModelAnswers(
            supported=supported,
            compile_estimate_s=_seconds(_ask(backend, "compile_estimate_s", model)),
            knobs={target: list(_knobs(backend, model, vcpus, target)) for target in Target},
        )
    except _BrokenContract as broken:
        return ModelAnswers(supported=refusal(str(broken), package))


def _availability(method: str, got: Any) -> Availability:
    if not isinstance(got, Availability):
        raise _BrokenContract(f"its {method} gave a {type(got).__name__}, and not an Availability")
    if not isinstance(got.available, bool):
        raise _BrokenContract(f"its {method} gave an Availability whose available is a {type(got.available).__name__}")
    texts: dict[str, str | None] = {}
    for name in ("version", "reason", "remedy"):
        text = getattr(got, name)
        if not isinstance(text, str | None):
            raise _BrokenContract(f"its {method} gave an Availability whose {name} is a {type(text).__name__}")
        texts[name] = None if text is None else one_line(text)
    return Availability(available=got.available, **texts)


def _seconds(got: Any) -> float:
    if not isinstance(got, Real) or isinstance(got, bool):
        raise _BrokenContract(f"its compile_estimate_s gave a {type(got).__name__}, and not seconds")
    if not (isfinite(seconds := float(got)) and seconds >= 0):
        raise _BrokenContract(f"its compile_estimate_s gave {seconds}, and not seconds")
    return seconds


def _knobs(backend: Backend, model: Model, vcpus: int, target: Target) -> Iterator[tuple[Knob, ...]]:
    for count in range(1, vcpus + 1):
        got = _ask(backend, "knobs", model, count, target)
        if not isinstance(got, tuple | list):
            raise _BrokenContract(f"its knobs gave a {type(got).__name__}, and not a tuple of Knobs")
        knobs = tuple(map(_knob, got))
        if repeated := [
            knob.name for nth, knob in enumerate(knobs) if knob.name in {earlier.name for earlier in knobs[:nth]}
        ]:
            raise _BrokenContract(f"its knobs gave two Knobs called {repeated[0]}")
        yield knobs


def _knob(got: Any) -> Knob:
    if not isinstance(got, Knob):
        raise _BrokenContract(f"its knobs gave a {type(got).__name__}, and not a Knob")
    if not isinstance(got.name, str):
        raise _BrokenContract(f"its knobs gave a Knob whose name is a {type(got.name).__name__}")
    if not isinstance(got.values, tuple | list) or not got.values:
        raise _BrokenContract(f"its knobs gave a Knob without values, {got.name}")
    return Knob(name=str(got.name), values=tuple(_knob_value(got.name, value) for value in got.values))


def _knob_value(name: str, got: Any) -> KnobValue:
    if not isinstance(got, str | int):
        raise _BrokenContract(f"its knobs gave a {type(got).__name__} as a value of {name}")
    if name == "threads" and (isinstance(got, str | bool) or got < 1):
        raise _BrokenContract(f"its knobs gave a number of threads: {got!r}")
    if isinstance(got, bool):
        return got
    return str(got) if isinstance(got, str) else int(got)
