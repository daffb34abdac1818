"""Groups of model packages: a name for the versions of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.aws.services.call import name_in
from servefit.aws.services.identity import role_arn
from servefit.aws.services.pages import listed, one_page
from servefit.aws.services.sagemaker.tags import keep_tags
from servefit.aws.state.resources import Missing, Taken
from servefit.aws.wire.errors import invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call, Operations
    from servefit.aws.state.resources import Resource, Resources

KIND = "model-package-group"
PACKAGE = "model-package"
"""The kind of what a group holds."""

_NOT_SEARCHED = {"Endpoint": "ListEndpoints", "ModelPackage": "ListModelPackages"}
"""Resources that Search finds at AWS and not here, and the operations that list them."""

_BY_NAME = ("ModelPackageGroupName", "Equals")


class PackageGroups:
    """The operations on groups, and the search for one by its name."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @property
    def operations(self) -> Operations:
        return {
            "CreateModelPackageGroup": self.create,
            "DescribeModelPackageGroup": self.describe,
            "ListModelPackageGroups": self.list,
            "DeleteModelPackageGroup": self.delete,
            "Search": self.search,
        }

    def create(self, call: Call) -> dict[str, Any]:
        name = call.given["ModelPackageGroupName"]
        arn = call.arn(f"{KIND}/{name}")
        document = {
            "ModelPackageGroupArn": arn,
            "ModelPackageGroupDescription": call.given.get("ModelPackageGroupDescription"),
        }
        try:
            self._resources.add(KIND, name, document)
        except Taken as error:
            raise invalid(f"Model Package Group already exists: {arn}") from error
        keep_tags(self._resources, arn, call.given.get("Tags", ()))
        return {"ModelPackageGroupArn": arn}

    def describe(self, call: Call) -> dict[str, Any]:
        group = self.find(call.given["ModelPackageGroupName"])
        return {**_facts(group), "CreatedBy": {"IamIdentity": {"Arn": role_arn(call.account)}}}

    def list(self, call: Call) -> dict[str, Any]:
        groups = self._resources.all(KIND)
        return listed(call, "ListModelPackageGroups", groups, summary=_facts, into="ModelPackageGroupSummaryList")

    def delete(self, call: Call) -> dict[str, Any]:
        group = self.find(call.given["ModelPackageGroupName"])
        held = [
            package.name for package in self._resources.all(PACKAGE) if package.name.partition("/")[0] == group.name
        ]
        if held:
            raise invalid(f"Model Package Group cannot be deleted: it still has {len(held)} model packages.")
        self._resources.remove(KIND, group.name)
        return {}

    def search(self, call: Call) -> dict[str, Any]:
        """Find groups by their name, as the SDK does before it makes one. Of what is not kept here nothing is found.
        Raises ApiError for a search of something else, or by something else."""
        resource = call.given["Resource"]
        if resource in _NOT_SEARCHED:
            raise invalid(f"Search finds ModelPackageGroup here, and not {resource}: use {_NOT_SEARCHED[resource]}.")
        filters = call.given.get("SearchExpression", {}).get("Filters", [])
        if any((condition["Name"], condition.get("Operator", "Equals")) != _BY_NAME for condition in filters):
            raise invalid(f"Search filters here by {' '.join(_BY_NAME)} alone.")
        groups = self._resources.all(KIND) if resource == "ModelPackageGroup" else ()
        matches = [group for group in groups if all(group.name == condition.get("Value") for condition in filters)]
        page, token = one_page(call.given, "Search", matches)
        return {"Results": [{"ModelPackageGroup": _facts(group)} for group in page], "NextToken": token}

    def find(self, name_or_arn: str) -> Resource:
        """Return a group. Raises ApiError."""
        name = name_in(name_or_arn)
        try:
            return self._resources.get(KIND, name)
        except Missing as error:
            raise invalid(f"Could not find model package group {name}.") from error


def _facts(group: Resource) -> dict[str, Any]:
    return {
        "ModelPackageGroupName": group.name,
        **group.document,
        "CreationTime": group.created,
        "ModelPackageGroupStatus": "Completed",
    }
