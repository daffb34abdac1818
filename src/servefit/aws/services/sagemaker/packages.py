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
        request = call.given
        if ("ModelPackageName" in request) == ("ModelPackageGroupName" in request):
            raise invalid("Exactly one of ModelPackageName and ModelPackageGroupName must be given.")
        if token := request.get("ClientToken"):
            for package in self._resources.all(PACKAGE):
                if package.document.get("ClientToken") == token:
                    return {"ModelPackageArn": package.document["ModelPackageArn"]}
        document = {key: value for key, value in request.items() if key != "Tags"}
        if "ModelPackageGroupName" in request:
            arn = self._add_version(call, self._groups.find(request["ModelPackageGroupName"]).name, document)
        else:
            name = request["ModelPackageName"]
            arn = call.arn(f"{PACKAGE}/{name.lower()}")
            try:
                self._resources.add(PACKAGE, name, {**document, "ModelPackageArn": arn}, ignores_case=True)
            except Taken as error:
                raise invalid(f"Model package already exists: {arn}") from error
        keep_tags(self._resources, arn, request.get("Tags", ()))
        return {"ModelPackageArn": arn}

    def _add_version(self, call: Call, group: str, document: Mapping[str, Any]) -> str:
        """Keep the next version of a group, and return its ARN. Versions that were deleted are not given again as long
        as there is a later one."""
        while True:
            versions = [package.document["ModelPackageVersion"] for package in self._of_group(group)]
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
        package = self.find(call.given["ModelPackageName"])
        return {
            "ModelPackageName": package.name,
            **{key: value for key, value in package.document.items() if key not in _NOT_KEPT},
            **_times(package),
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {
                "ValidationStatuses": [],
                "ImageScanStatuses": [{"Name": package.name.partition("/")[0], "Status": "Completed"}],
            },
            "CreatedBy": {"IamIdentity": {"Arn": role_arn(call.account)}},
        }

    def list(self, call: Call) -> dict[str, Any]:
        request = call.given
        group = request.get("ModelPackageGroupName")
        packages = self._resources.all(PACKAGE) if group is None else self._of_group(self._groups.find(group).name)
        status, kind = request.get("ModelApprovalStatus"), request.get("ModelPackageType")
        if group is not None or kind == "Versioned":
            packages = tuple(package for package in packages if "ModelPackageVersion" in package.document)
        elif kind != "Both":
            packages = tuple(package for package in packages if "ModelPackageVersion" not in package.document)
        if status is not None:
            packages = tuple(package for package in packages if package.document.get("ModelApprovalStatus") == status)
        return listed(call, "ListModelPackages", packages, summary=_summary, into="ModelPackageSummaryList")

    def update(self, call: Call) -> dict[str, Any]:
        package = self.find(call.given["ModelPackageArn"])
        changes = {key: value for key, value in call.given.items() if key != "ModelPackageArn"}
        self._resources.change(PACKAGE, package.name, lambda before: {**before, **changes})
        return {"ModelPackageArn": package.document["ModelPackageArn"]}

    def delete(self, call: Call) -> dict[str, Any]:
        package = self.find(call.given["ModelPackageName"])
        self._resources.remove(PACKAGE, package.name)
        return {}

    def find(self, name_or_arn: str) -> Resource:
        """Return a package by its name, "GROUP/VERSION" or ARN. Raises ApiError."""
        name = name_in(name_or_arn)
        try:
            return self._resources.get(PACKAGE, name)
        except Missing:
            pass
        for package in self._resources.all(PACKAGE):
            # The ARN of a package without a group has its name in lower case.
            if package.document["ModelPackageArn"] == name_or_arn:
                return package
        raise _unknown(name_or_arn)

    def _of_group(self, group: str) -> tuple[Resource, ...]:
        return tuple(package for package in self._resources.all(PACKAGE) if package.name.startswith(f"{group}/"))


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
    container: Mapping[str, Any] = containers[0]
    return container


def _unknown(name: str) -> ApiError:
    return invalid(f"Could not find model package {name}.")


def _times(package: Resource) -> dict[str, float]:
    return {"CreationTime": package.created, "LastModifiedTime": package.modified}


def _summary(package: Resource) -> dict[str, Any]:
    document = package.document
    return {
        "ModelPackageName": package.name,
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
        "CreationTime": package.created,
        "ModelPackageStatus": "Completed",
    }
