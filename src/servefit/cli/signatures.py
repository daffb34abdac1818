"""Options that commands share, added to the signature of a command, where typer looks for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable


def with_parameters(
    command: Callable[..., None],
    original: Callable[..., object],
    *,
    added: Iterable[inspect.Parameter],
    in_place_of: str | None = None,
) -> Callable[..., None]:
    """Give ``command`` the signature of ``original`` with the parameters ``added``: at the end, or ``in_place_of`` one.

    Both may be the same function. Annotations become objects.
    """
    signature = inspect.signature(original, eval_str=True)
    found: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        found.extend(added if parameter.name == in_place_of else [parameter])
    if in_place_of is None:
        found.extend(added)
    found.sort(key=lambda parameter: parameter.kind)
    command.__signature__ = signature.replace(parameters=found)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in found}
    return command
