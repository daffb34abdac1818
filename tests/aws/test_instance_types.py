"""Instance types of AWS on a machine: what they are measured as, or the true reason why they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.aws.conftest import ROLE
from tests.report.story import simulated_host

from servefit.aws.services.sagemaker.instance_types import InstanceTypes
from servefit.aws.wire.service_models import service_model
from servefit.profiler.machine.gpu import Gpu

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aws.conftest import Server

    from servefit.aws.jobs.plan import Measured

GIB = 2**30


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))


def found(instance_type: str, *, mapped: dict[str, str] | None = None, **facts: Any) -> Measured:
    """A type on a host of four CPUs and 16 GiB without a GPU, unless ``facts`` say otherwise."""
    return InstanceTypes(mapped or {}, simulated_host(**facts)).find(instance_type)


@pytest.mark.parametrize(
    ("instance_type", "reason"),
    [
        ("ml.p4d.24xlarge", "it needs 8 A100 GPUs, and the NVIDIA driver is not installed"),
        ("ml.g4dn.xlarge", "it needs 1 T4 GPU, and the NVIDIA driver is not installed"),
        ("ml.p3.2xlarge", "it needs NVIDIA V100 GPUs, and this host has none"),
        ("ml.inf2.xlarge", "it needs 1 AWS Inferentia2 accelerator, and servefit measures on CPUs and NVIDIA GPUs"),
        ("ml.trn1.32xlarge", "it needs 16 AWS Trainium accelerators"),
        ("ml.dl1.24xlarge", "it needs Gaudi accelerators, and this host has none"),
        ("ml.t2.medium", "it is burstable: its CPUs are whole for some of the time only"),
        ("ml.m4.16xlarge", "it needs 64 vCPUs, this host has 4"),
        ("ml.r5.xlarge", "it needs 32 GiB of memory, this host has 16 GiB"),
        (
            "ml.c8g.medium",
            "it has 1 vCPU and 2 GiB of memory, and no profile that can be measured here is like that",
        ),
        ("ml.nonsense", "it has a shape that is not known here; check the name ml.nonsense"),
    ],
)
def test_a_type_that_is_not_measured_says_why(instance_type: str, reason: str) -> None:
    measured = found(instance_type)
    assert measured.profile == instance_type
    assert (measured.reason or "").startswith(reason)
    assert f"--map {instance_type}=local-1c" in (measured.reason or "")


@pytest.mark.parametrize(
    ("instance_type", "profile"),
    [
        ("ml.m5.large", "ml.m5.large"),
        ("ml.m4.xlarge", "ml.m5.xlarge"),
        ("ml.c4.xlarge", "ml.c5.xlarge"),
        ("ml.c6g.large", "ml.c5.large"),
        ("ml.m5d.large", "ml.m5.large"),
        ("ml.local-2c", "local-2c"),
    ],
)
def test_a_type_is_measured_as_itself_or_as_what_has_its_shape(instance_type: str, profile: str) -> None:
    measured = found(instance_type)
    assert (measured.profile, measured.reason) == (profile, None)


def test_a_type_has_never_more_memory_than_it_has_at_aws() -> None:
    # 16 GiB beside two CPUs are not there to be measured; half of them are.
    assert found("ml.r5.large").profile in ("ml.m5.large", "local-2c")


def test_a_gpu_of_this_host_is_not_missing() -> None:
    gpu = Gpu(index=0, model="NVIDIA L4", memory_bytes=24 * GIB, driver="570")
    reason = found("ml.g6.xlarge", gpus=(gpu,)).reason or ""
    assert "L4" not in reason


def test_what_a_type_is_mapped_to_comes_before_its_own_shape() -> None:
    measured = found("ml.t2.medium", mapped={"ml.t2.medium": "local-1c"})
    assert (measured.profile, measured.reason) == ("local-1c", None)


def test_the_shape_of_no_family_of_sagemaker_is_unknown() -> None:
    types = service_model("sagemaker").shape_for("ProductionVariantInstanceType").enum
    of_families = {name.rpartition(".")[0]: name for name in types}
    known = InstanceTypes({}, simulated_host())
    assert len(of_families) > 40
    for name in of_families.values():
        assert "shape that is not known" not in (known.find(name).reason or "")


@pytest.mark.integration
def test_an_endpoint_on_a_type_that_this_machine_cannot_be_is_refused(server: Server) -> None:
    client = server.client("sagemaker")
    container = {"Image": "i", "ModelDataUrl": "s3://nowhere/model"}
    client.create_model(ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.inf2.xlarge", "InitialInstanceCount": 1}
    client.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    with pytest.raises(client.exceptions.ClientError, match="cannot be served here: it needs 1 AWS"):
        client.create_endpoint(EndpointName="impossible", EndpointConfigName="c")
    assert client.list_endpoints(NameContains="impossible")["Endpoints"] == []
