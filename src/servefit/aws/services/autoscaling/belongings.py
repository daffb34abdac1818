"""Documents that belong to scalable targets, of one kind, each under its target and its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from servefit.aws.services.autoscaling.pages import page_of
from servefit.aws.services.autoscaling.targets import DIMENSION, NAMESPACE, is_asked_for, not_found
from servefit.aws.state.resources import Missing

if TYPE_CHECKING:
    from servefit.aws.state.resources import Resource, Resources


class Belongings:
    """The documents of a ``kind`` that targets have. ``member`` is that with the name, in documents and in requests."""

    def __init__(self, resources: Resources, kind: str, *, member: str) -> None:
        self._resources = resources
        self._kind = kind
        self._member = member

    def get(self, target: str, name: str) -> Mapping[str, Any]:
        """Return a document of a target; an empty one where there is none."""
        try:
            return self._resources.get(self._kind, _key(target, name)).document
        except Missing:
            return {}

    def put(self, target: str, name: str, document: Mapping[str, Any]) -> None:
        """Keep a document of a target, in place of one of that name."""
        kept = {self._member: name, "ResourceId": target, **document}
        self._resources.put(self._kind, _key(target, name), lambda _: kept)

    def of(self, target: str | None) -> list[Resource]:
        """Return the documents of a target; all where it is None."""
        known = self._resources.all(self._kind)
        return [each for each in known if target in (None, each.document["ResourceId"])]

    def listed(self, given: Mapping[str, Any], operation: str, *, into: str, most: int) -> dict[str, Any]:
        """Return a page of what a call of a Describe operation asks for, under the name ``into``. Raises ApiError."""
        names = given.get(f"{self._member}s", ())
        kept = [
            each
            for each in self.of(given.get("ResourceId"))
            if is_asked_for(given) and (not names or each.document[self._member] in names)
        ]
        page, token = page_of(given, operation, kept, most=most)
        return {into: [_told(each) for each in page], "NextToken": token}

    def delete(self, given: Mapping[str, Any], what: str) -> None:
        """Forget the document that a request names. Raises ApiError, ObjectNotFoundException."""
        name = given[self._member]
        try:
            if is_asked_for(given):
                self._resources.remove(self._kind, _key(given["ResourceId"], name))
                return
        except Missing:
            pass
        raise not_found(f"No {what} found", given, f", {what} name: {name}")

    def remove_all_of(self, target: str) -> None:
        for each in self.of(target):
            self._resources.remove(self._kind, each.name)


def _key(target: str, name: str) -> str:
    return f"{target}/{name}"


def _told(each: Resource) -> dict[str, Any]:
    return {
        "ServiceNamespace": NAMESPACE,
        "ScalableDimension": DIMENSION,
        "CreationTime": each.created,
        **each.document,
    }
