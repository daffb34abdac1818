"""Model packages: models in the registry, as versions of a group or under a name of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from servefit.aws.services.call import name_in
from servefit.aws.services.identity import role_arn
from servefit.aws.services.pages import listed
from servefit.aws.services.sagemaker.package_groups import PACKAGE, PackageGroups
from servefit.aws.services.sagemaker.tags import keep_tags
from servefit.aws.state.resources import Missing, Taken
from servefit.aws.wire.errors import ApiError, invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call, Operations
    from servefit.aws.state.resources import Resource, Resources

_NOT_KEPT = ("Tags", "ClientToken")


class Packages:
    """The operations on model packages. One of a group is kept as "GROUP/VERSION"."""

    def __init__(self, resources: Resources, groups: PackageGroups) -> None:
        self._resources = resources
        self._groups = groups

    @property
    def operations(self) -> Operations:
        return {
            "CreateModelPackage": self.create,
            "DescribeModelPackage": self.describe,
            "ListModelPackages": self.list,
            "UpdateModelPackage": self.update,
            "DeleteModelPackage": self.delete,
        }

    def create(self, call: Call) -> dict[str, Any]:
        given = call.given
        if ("ModelPackageName" in given) == ("ModelPackageGroupName" in given):
            raise invalid("Exactly one of ModelPackageName and ModelPackageGroupName must be given.")
        if token := given.get("ClientToken"):
            for each in self._resources.all(PACKAGE):
                if each.document.get("ClientToken") == token:
                    return {"ModelPackageArn": each.document["ModelPackageArn"]}
        document = {key: value for key, value in given.items() if key != "Tags"}
        if "ModelPackageGroupName" in given:
            arn = self._add_version(call, self._groups.find(given["ModelPackageGroupName"]).name, document)
        else:
            name = given["ModelPackageName"]
            arn = call.arn(f"{PACKAGE}/{name.lower()}")
            try:
                self._resources.add(PACKAGE, name, {**document, "ModelPackageArn": arn}, ignores_case=True)
            except Taken as error:
                raise invalid(f"Model package already exists: {arn}") from error
        keep_tags(self._resources, arn, given.get("Tags", ()))
        return {"ModelPackageArn": arn}

    def _add_version(self, call: Call, group: str, document: Mapping[str, Any]) -> str:
        """Keep the next version of a group, and return its ARN. Versions that were deleted are not given again as long
        as there is a later one."""
        while True:
            versions = [each.document["ModelPackageVersion"] for each in self._of_group(group)]
            version = 1 + max(versions, default=0)
            arn = call.arn(f"{PACKAGE}/{group}/{version}")
            kept = {
                "ModelApprovalStatus": "PendingManualApproval",
                **document,
                "ModelPackageGroupName": group,
                "ModelPackageVersion": version,
                "ModelPackageArn": arn,
            }
            try:
                self._resources.add(PACKAGE, f"{group}/{version}", kept)
            except Taken:
                continue
            return arn

    def describe(self, call: Call) -> dict[str, Any]:
        found = self.find(call.given["ModelPackageName"])
        return {
            "ModelPackageName": found.name,
            **{key: value for key, value in found.document.items() if key not in _NOT_KEPT},
            **_times(found),
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {
                "ValidationStatuses": [],
                "ImageScanStatuses": [{"Name": found.name.partition("/")[0], "Status": "Completed"}],
            },
            "CreatedBy": {"IamIdentity": {"Arn": role_arn(call.account)}},
        }

    def list(self, call: Call) -> dict[str, Any]:
        given = call.given
        group = given.get("ModelPackageGroupName")
        found = self._resources.all(PACKAGE) if group is None else self._of_group(self._groups.find(group).name)
        status, kind = given.get("ModelApprovalStatus"), given.get("ModelPackageType")
        if group is not None or kind == "Versioned":
            found = tuple(each for each in found if "ModelPackageVersion" in each.document)
        elif kind != "Both":
            found = tuple(each for each in found if "ModelPackageVersion" not in each.document)
        if status is not None:
            found = tuple(each for each in found if each.document.get("ModelApprovalStatus") == status)
        return listed(call, "ListModelPackages", found, summary=_summary, into="ModelPackageSummaryList")

    def update(self, call: Call) -> dict[str, Any]:
        found = self.find(call.given["ModelPackageArn"])
        changes = {key: value for key, value in call.given.items() if key != "ModelPackageArn"}
        self._resources.change(PACKAGE, found.name, lambda before: {**before, **changes})
        return {"ModelPackageArn": found.document["ModelPackageArn"]}

    def delete(self, call: Call) -> dict[str, Any]:
        found = self.find(call.given["ModelPackageName"])
        self._resources.remove(PACKAGE, found.name)
        return {}

    def find(self, name_or_arn: str) -> Resource:
        """Return a package by its name, "GROUP/VERSION" or ARN. Raises ApiError."""
        name = name_in(name_or_arn)
        try:
            return self._resources.get(PACKAGE, name)
        except Missing:
            pass
        for each in self._resources.all(PACKAGE):
            # The ARN of a package without a group has its name in lower case.
            if each.document["ModelPackageArn"] == name_or_arn:
                return each
        raise _unknown(name_or_arn)

    def _of_group(self, group: str) -> tuple[Resource, ...]:
        return tuple(each for each in self._resources.all(PACKAGE) if each.name.startswith(f"{group}/"))


def data_of(container: Mapping[str, Any], packages: Packages, *, about: str) -> tuple[str, Mapping[str, str]]:
    """Return where the data of a container is, and its variables: of its own, or of the package that it names. Raises
    ApiError."""
    variables = container.get("Environment", {})
    if (url := container.get("ModelDataUrl")) is not None:
        return url, variables
    if (package := container.get("ModelPackageName")) is None:
        raise invalid(f"{about} has neither ModelDataUrl nor ModelPackageName.")
    inner = packaged_container(packages.find(package))
    if "ModelDataUrl" not in inner:
        raise invalid(f"Model package {package} has no ModelDataUrl.")
    return inner["ModelDataUrl"], {**inner.get("Environment", {}), **variables}


def packaged_container(package: Resource) -> Mapping[str, Any]:
    """Return the one container of a model package, an empty one where it has none. Raises ApiError for several."""
    containers = package.document.get("InferenceSpecification", {}).get("Containers", [{}])
    if len(containers) != 1:
        raise invalid(
            f"Model package {package.name} has {len(containers)} containers: models in a pipeline are not served here."
        )
    found: Mapping[str, Any] = containers[0]
    return found


def _unknown(name: str) -> ApiError:
    return invalid(f"Could not find model package {name}.")


def _times(each: Resource) -> dict[str, float]:
    return {"CreationTime": each.created, "LastModifiedTime": each.modified}


def _summary(each: Resource) -> dict[str, Any]:
    document = each.document
    return {
        "ModelPackageName": each.name,
        **{
            key: document.get(key)
            for key in (
                "ModelPackageGroupName",
                "ModelPackageVersion",
                "ModelPackageArn",
                "ModelPackageDescription",
                "ModelApprovalStatus",
            )
        },
        "CreationTime": each.created,
        "ModelPackageStatus": "Completed",
    }
