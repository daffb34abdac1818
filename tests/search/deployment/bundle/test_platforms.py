"""The files by which systemd, Docker, Kubernetes and KServe start a bundle, read as they read them."""

from __future__ import annotations

from configparser import RawConfigParser
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from servefit.backends.types import Target
from servefit.search.deployment.bundle.writing import write_bundle
from servefit.search.deployment.deployable import cpu_ranges

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.deployment.bundle.conftest import CompiledWith, Export

    from servefit.search.deployment.bundle.writing import Bundle
    from servefit.search.deployment.deployable import Deployable

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("asked_once")]


@pytest.fixture
def export(plain: Bundle, deployable: Deployable, tmp_path: Path) -> Export:
    def give(*, of: Deployable = deployable, **options: Any) -> Bundle:
        return plain if of is deployable and not options else write_bundle(of, tmp_path / "bundle", **options)

    return give


class Repeating(dict[str, Any]):
    """Keeps every value of an option that is said more than once, as systemd does."""

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, list) and isinstance(self.get(key), list):
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


def service_of(bundle: Bundle) -> dict[str, list[str]]:
    parser = RawConfigParser(dict_type=Repeating, strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(bundle.folder / f"{bundle.contents.label}.service")
    assert parser.sections() == ["Unit", "Service", "Install"]
    return {name: value.splitlines() for name, value in parser["Service"].items()}


def manifests(bundle: Bundle, name: str) -> list[Any]:
    return list(yaml.safe_load_all((bundle.folder / name).read_text()))


def dockerfile(bundle: Bundle) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (bundle.folder / "Dockerfile").read_text().splitlines():
        if not line.startswith("#"):
            instruction, _, rest = line.partition(" ")
            found.setdefault(instruction, []).append(rest)
    return found


def on_gpu(deployable: Deployable) -> Deployable:
    """The same on CUDA, on the second GPU."""
    return replace(
        deployable,
        profile=replace(deployable.profile, gpus=1),
        configuration=replace(deployable.configuration, target=Target.CUDA, gpu=1),
    )


def test_the_unit_holds_the_service_to_the_cpus_and_the_memory_of_the_profile(
    export: Export, deployable: Deployable
) -> None:
    bundle = export()
    service = service_of(bundle)
    cpus = cpu_ranges(bundle.contents.cpus)
    assert len(bundle.contents.cpus) == deployable.profile.vcpus == 1
    assert service["CPUAffinity"] == service["AllowedCPUs"] == [cpus]
    assert service["MemoryMax"] == [str(deployable.profile.memory_bytes)]
    assert service["MemorySwapMax"] == ["0"]


def test_the_unit_starts_the_bundle_where_it_lies_and_gives_it_time_to_finish(export: Export) -> None:
    service = service_of(export())
    assert service["ExecStart"] == ["/opt/servefit/fraud-v2/current/run serve"]
    assert service["ExecStartPre"] == ["+/opt/servefit/fraud-v2/current/run install"]
    assert (service["Restart"], service["KillMode"]) == (["on-failure"], ["mixed"])
    assert int(service["TimeoutStopSec"][0]) > 30
    assert {"NoNewPrivileges", "ProtectSystem", "DynamicUser", "PrivateDevices"} <= service.keys()


def test_the_unit_sets_the_environment_with_everything_escaped(export: Export) -> None:
    environment = service_of(export())["Environment"]
    assert environment[0] == "SERVEFIT_HOST=127.0.0.1 SERVEFIT_PORT=8080"
    assert '"OMP_NUM_THREADS=1"' in environment
    assert r'"GREETING=say \"50 %%\" \\ done"' in environment


@pytest.mark.thorough
def test_a_unit_on_a_gpu_names_it_and_sees_devices(export: Export, deployable: Deployable) -> None:
    service = service_of(export(of=on_gpu(deployable)))
    assert '"CUDA_VISIBLE_DEVICES=1"' in service["Environment"]
    assert "PrivateDevices" not in service


def test_the_image_keeps_the_contract_of_sagemaker(export: Export) -> None:
    found = dockerfile(export())
    assert found["LABEL"] == ["com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true"]
    assert found["EXPOSE"] == ["8080"]
    assert found["ENTRYPOINT"] == ['["/opt/servefit/fraud-v2/run"]']
    assert found["CMD"] == ['["serve"]']
    assert found["ENV"] == ["SERVEFIT_HOST=0.0.0.0"]


def test_the_image_is_made_with_the_python_of_the_lock_and_runs_as_nobody(export: Export) -> None:
    bundle = export()
    found = dockerfile(bundle)
    version = (bundle.folder / "requirements.lock").read_text().split()[2]
    assert found["FROM"] == [f"python:{version}-slim"]
    assert found["USER"] == ["10001:10001"]
    copied = {name for line in found["COPY"] for name in line.split()[:-1]}
    assert copied == {"run", "requirements.lock", "lib", "artifact", "model", "endpoint.json", "SHA256SUMS"}
    assert all((bundle.folder / name).exists() for name in copied)


@pytest.mark.parametrize(("backend", "needed"), [("tl2cgen", True), ("treelite", False)])
def test_the_image_has_openmp_where_the_backend_brings_none(
    export: Export, compiled_with: CompiledWith, backend: str, needed: bool
) -> None:
    text = (export(of=compiled_with(backend)).folder / "Dockerfile").read_text()
    assert ("libgomp1" in text) == needed


def container_of(manifest: Any) -> Any:
    spec = manifest["spec"]
    pod = spec["predictor"] if manifest["kind"] == "InferenceService" else spec["template"]["spec"]
    [container] = pod["containers"]
    return container


@pytest.mark.parametrize(
    ("measured_mib", "requested_mib"), [pytest.param(96, 160, marks=pytest.mark.thorough), (300, 450), (10**9, None)]
)
def test_pods_request_the_memory_that_was_measured_and_some_more_up_to_that_of_the_profile(
    export: Export, deployable: Deployable, measured_mib: int, requested_mib: int | None
) -> None:
    bundle = export(of=replace(deployable, used_bytes=measured_mib * 2**20))
    of_profile = deployable.profile.memory_bytes // 2**20
    for name in ("kserve.yaml", "kubernetes.yaml"):
        resources = container_of(manifests(bundle, name)[0])["resources"]
        assert resources["limits"] == {"cpu": "1", "memory": f"{of_profile}Mi"}
        assert resources["requests"] == {"cpu": "1", "memory": f"{requested_mib or of_profile}Mi"}
    for name in ("kserve.yaml", "kubernetes.yaml", "README.md"):
        assert f"{measured_mib:,} MiB" in (bundle.folder / name).read_text(), name


@pytest.mark.parametrize("name", ["kserve.yaml", "kubernetes.yaml"])
def test_where_no_memory_was_measured_they_request_that_of_the_profile_and_say_so(
    export: Export, deployable: Deployable, name: str
) -> None:
    bundle = export()
    expected = {"cpu": "1", "memory": f"{deployable.profile.memory_bytes // 2**20}Mi"}
    assert container_of(manifests(bundle, name)[0])["resources"] == {"requests": expected, "limits": expected}
    assert "nothing was measured" in (bundle.folder / name).read_text()


def test_the_image_says_whether_it_is_healthy(export: Export) -> None:
    [check] = dockerfile(export())["HEALTHCHECK"]
    assert check.endswith('CMD ["/opt/servefit/fraud-v2/run", "health"]')


@pytest.mark.parametrize("name", ["kserve.yaml", "kubernetes.yaml"])
def test_probes_ask_the_endpoint_how_it_is(export: Export, name: str) -> None:
    container = container_of(manifests(export(), name)[0])
    [port] = container["ports"]
    assert port["containerPort"] == 8080
    for probe, path in (("startupProbe", "ready"), ("readinessProbe", "ready"), ("livenessProbe", "live")):
        assert container[probe]["httpGet"] == {"path": f"/v2/health/{path}", "port": 8080}


@pytest.mark.parametrize("name", ["kserve.yaml", "kubernetes.yaml"])
def test_pods_get_the_environment_as_text(export: Export, name: str) -> None:
    container = container_of(manifests(export(), name)[0])
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["GREETING"] == 'say "50 %" \\ done'
    assert all(isinstance(value, str) for value in environment.values())


def test_kserve_is_told_the_protocol_of_the_container(export: Export) -> None:
    [service] = manifests(export(), "kserve.yaml")
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert service["metadata"]["name"] == "fraud-v2"
    container = container_of(service)
    assert container["name"] == "kserve-container"
    assert {"name": "PROTOCOL", "value": "v2"} in container["env"]
    assert service["spec"]["predictor"]["terminationGracePeriodSeconds"] > 30


def test_the_plain_service_finds_the_pods_of_the_deployment(export: Export, deployable: Deployable) -> None:
    deployment, service = manifests(export(of=replace(deployable, instances=3)), "kubernetes.yaml")
    assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
    assert deployment["spec"]["replicas"] == 3
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selector = deployment["spec"]["selector"]["matchLabels"]
    # A version in the selector could not be updated.
    assert service["spec"]["selector"] == selector == {"app.kubernetes.io/name": "fraud-v2"}
    assert selector.items() <= labels.items()
    assert deployment["metadata"]["labels"] == labels
    image = container_of(deployment)["image"]
    assert image == f"fraud-v2:{labels['app.kubernetes.io/version']}"
    assert service["spec"]["ports"][0]["targetPort"] == 8080


def test_a_pod_on_a_gpu_asks_for_one_and_does_not_number_it(export: Export, deployable: Deployable) -> None:
    container = container_of(manifests(export(of=on_gpu(deployable)), "kserve.yaml")[0])
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert not [variable for variable in container["env"] if variable["name"].startswith("CUDA")]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        pytest.param("fraud", "fraud", marks=pytest.mark.thorough),
        ("Fraud.V2_x", "fraud-v2-x"),
        pytest.param("2024", "model-2024", marks=pytest.mark.thorough),
        ("a" * 39 + "-b", "a" * 39),
    ],
)
def test_names_become_labels_that_every_platform_takes(
    export: Export, deployable: Deployable, name: str, label: str
) -> None:
    bundle = export(name=name)
    assert bundle.contents.label == label
    assert (bundle.folder / f"{label}.service").is_file()
    assert manifests(bundle, "kserve.yaml")[0]["metadata"]["name"] == label


def test_the_readme_names_what_there_is(export: Export) -> None:
    bundle = export()
    text = (bundle.folder / "README.md").read_text()
    for name in ("run", "endpoint.json", "requirements.lock", "fraud-v2.service", "Dockerfile", "kserve.yaml"):
        assert f"`{name}`" in text
    assert f"docker build -t {bundle.contents.image} ." in text
    spoken = "2 workers x 1 thread, up to 4 requests a call that wait up to 500 us for each other"
    assert spoken in " ".join(text.split())
    assert all(len(line) < 121 or line.startswith(("|", "    ")) for line in text.splitlines())
