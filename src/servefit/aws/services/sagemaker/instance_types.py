"""Instance types, and the profiles of servefit that stand for them.

The shapes of types that are no profiles are those of EC2, as moto lists them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from servefit.aws.jobs.plan import Measured
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.machine.profiles import HIDDEN_MEMORY, all_profiles, why_not_measurable
from servefit.quantities import size_text

if TYPE_CHECKING:
    from servefit.profiler.machine.host import Host

_OWN = "ml."
"""Before the name of a profile of this host that is told as an instance type: the SDK takes names without a dot, and
those that begin with "local", for something else."""

_SHAPES = "ec2/resources/instance_types.json.gz"
"""In moto."""

_ACCELERATORS = {
    "dl1": "Gaudi accelerators",
    "p2": "NVIDIA K80 GPUs",
    "p3": "NVIDIA V100 GPUs",
    "p6e-gb200": "NVIDIA GB200 GPUs",
}
"""Accelerators of families that moto does not list, by the documentation of SageMaker's instances."""

SERVERLESS = "serverless"
"""Stands among the instance types of a job for all its configurations that are serverless, which have no type."""


def serverless_configurations(asked: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the serverless configurations that a request for a job has.

    Example:
        >>> given = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
        >>> serverless_configurations({"InputConfig": {"EndpointConfigurations": [{"ServerlessConfig": given}]}})
        [{'MemorySizeInMB': 2048, 'MaxConcurrency': 5}]
    """
    configurations = asked["InputConfig"].get("EndpointConfigurations", ())
    return [
        configuration["ServerlessConfig"] for configuration in configurations if "ServerlessConfig" in configuration
    ]


def type_of(profile: str) -> str:
    """Return the instance type that a profile of this host is told as.

    Example:
        >>> type_of("local-1c")
        'ml.local-1c'
    """
    return f"{_OWN}{profile}"


def profile_of(instance_type: str, mapped: Mapping[str, str]) -> str:
    """Return the profile of an instance type: the one that it is ``mapped`` to, or that of its name.

    Example:
        >>> profile_of("ml.m5.4xlarge", {"ml.m5.4xlarge": "local-2c"}), profile_of("ml.local-1c", {})
        ('local-2c', 'local-1c')
    """
    own = instance_type.removeprefix(_OWN) if instance_type.startswith(f"{_OWN}local-") else instance_type
    return mapped.get(instance_type, own)


@dataclass(frozen=True, slots=True)
class InstanceTypes:
    """The instance types on ``host``, some of which are ``mapped`` to profiles of other names."""

    mapped: Mapping[str, str]
    host: Host

    def find(self, instance_type: str) -> Measured:
        """Return the profile that a type is measured as, or why it is not measured here."""
        profiles = {profile.name: profile for profile in all_profiles(self.host)}
        name = profile_of(instance_type, self.mapped)
        if name in profiles:
            reason = self._why_not_measurable(profiles[name])
        elif (shape := _shape_of(name)) is None:
            reason = self._why_unknown(name)
        elif (reason := self._why_not(shape)) is None:
            name, reason = _likest(
                shape, [profile for profile in profiles.values() if not why_not_measurable(profile, self.host)]
            )
        if reason is not None:
            remedy = f"measure one shape under another's name with --map {instance_type}=local-1c"
            reason = f"it {reason}; {remedy}"
        return Measured(instance_type=instance_type, profile=name, reason=reason)

    def _why_not(self, shape: _Shape) -> str | None:
        """Return why an instance of a shape cannot be measured here, None where it can."""
        if shape.accelerators is not None:
            return f"needs {shape.accelerators}, and servefit measures on CPUs and NVIDIA GPUs"
        if shape.is_burstable:
            return "is burstable: its CPUs are whole for some of the time only, which is not measured here"
        return self._why_not_measurable(shape.profile)

    def _why_not_measurable(self, profile: InstanceProfile) -> str | None:
        """Return why a profile cannot be measured here: for want of its GPUs, before all else."""
        gpus = InstanceProfile(
            name=profile.name, vcpus=1, memory_bytes=0, gpus=profile.gpus, gpu_model=profile.gpu_model
        )
        return why_not_measurable(gpus, self.host) or why_not_measurable(profile, self.host)

    def _why_unknown(self, name: str) -> str:
        accelerators = _ACCELERATORS.get(name.removeprefix(_OWN).partition(".")[0])
        if accelerators is not None and not self.host.gpus:
            return f"needs {accelerators}, and this host has none"
        return f"has a shape that is not known here; check the name {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """The hardware of an instance, as a profile. ``accelerators`` are those that are no GPUs, None where it has
    none."""

    profile: InstanceProfile
    accelerators: str | None
    is_burstable: bool


@lru_cache(maxsize=256)
def _shape_of(instance_type: str) -> _Shape | None:
    """Return the shape of an instance type, "ml.m4.xlarge", None where moto does not list it. Of the 4 MB that it lists
    just that is decoded."""
    listed = gzip.decompress(files("moto").joinpath(_SHAPES).read_bytes()).decode()
    begins = f'"{instance_type.removeprefix(_OWN)}": '
    at = listed.find(begins)
    if at < 0:
        return None
    facts, _ = json.JSONDecoder().raw_decode(listed, at + len(begins))
    gpus = facts.get("GpuInfo", {}).get("Gpus", [])
    others = facts.get("InferenceAcceleratorInfo", {}).get("Accelerators", [])
    others = others or facts.get("NeuronInfo", {}).get("NeuronDevices", [])
    return _Shape(
        profile=InstanceProfile(
            name=instance_type,
            vcpus=facts["VCpuInfo"]["DefaultVCpus"],
            memory_bytes=facts["MemoryInfo"]["SizeInMiB"] * 2**20,
            gpus=sum(gpu["Count"] for gpu in gpus),
            gpu_model=gpus[0]["Name"] if gpus else None,
        ),
        accelerators=", ".join(_count(device["Count"], f"AWS {device['Name']} accelerator") for device in others)
        or None,
        is_burstable=facts["BurstablePerformanceSupported"],
    )


def _likest(shape: _Shape, profiles: list[InstanceProfile]) -> tuple[str, str | None]:
    """Return which of the profiles that can be measured has the CPUs of a shape and at most its memory, and most of
    that; or the name of the shape and why it is not measured."""
    wanted = shape.profile
    alike = [
        profile
        for profile in profiles
        if (profile.vcpus, profile.gpus) == (wanted.vcpus, wanted.gpus)
        and profile.memory_bytes * (1 - HIDDEN_MEMORY) <= wanted.memory_bytes
    ]
    if not alike:
        size = f"{_count(wanted.vcpus, 'vCPU')} and {size_text(wanted.memory_bytes)} of memory"
        return wanted.name, f"has {size}, and no profile that can be measured here is like that"
    return max(alike, key=lambda profile: (profile.memory_bytes, profile.cloud == "aws")).name, None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
