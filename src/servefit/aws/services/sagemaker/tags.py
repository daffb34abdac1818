"""Tags of resources, by their ARN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from servefit.aws.services.pages import one_page
from servefit.aws.state.resources import Missing
from servefit.aws.wire.errors import invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call, Operations
    from servefit.aws.state.resources import Resources

KIND = "tags"

MAX_TAGS = 50
"""Of AWS, for a resource."""


class Tags:
    """The operations on tags."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @property
    def operations(self) -> Operations:
        return {"AddTags": self.add, "ListTags": self.list, "DeleteTags": self.delete}

    def add(self, call: Call) -> dict[str, Any]:
        added = _by_key(call.given["Tags"])

        def merged(before: Mapping[str, Any]) -> dict[str, Any]:
            tags = {**before, **added}
            if len(tags) > MAX_TAGS:
                raise invalid(f"A resource has at most {MAX_TAGS} tags.")
            return tags

        resource = self._resources.put(KIND, call.given["ResourceArn"], merged)
        return {"Tags": _as_list(resource.document)}

    def list(self, call: Call) -> dict[str, Any]:
        tags = _as_list(tags_of(self._resources, call.given["ResourceArn"]))
        page, token = one_page({"MaxResults": MAX_TAGS, **call.given}, "ListTags", tags)
        return {"Tags": page, "NextToken": token}

    def delete(self, call: Call) -> dict[str, Any]:
        gone = set(call.given["TagKeys"])
        self._resources.put(
            KIND,
            call.given["ResourceArn"],
            lambda before: {key: value for key, value in before.items() if key not in gone},
        )
        return {}


def keep_tags(resources: Resources, arn: str, tags: Iterable[Mapping[str, str]]) -> None:
    """Keep the tags of a new resource, in place of those of an earlier one of that name."""
    resources.put(KIND, arn, lambda _: _by_key(tags))


def tags_of(resources: Resources, arn: str) -> dict[str, str]:
    """Return the tags of a resource by their keys; none of a resource that has none, or is none."""
    try:
        return dict(resources.get(KIND, arn).document)
    except Missing:
        return {}


def _by_key(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
