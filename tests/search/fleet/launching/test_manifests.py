"""Manifests, as the programs that they are for read them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from servefit.errors import SpecError
from servefit.search.fleet.launching.agent_options import AgentOptions
from servefit.search.fleet.launching.manifests import kubernetes, slurm, systemd

AGENT = AgentOptions(labels={"rack": "3"}, cost={"capex": 4200.0, "years": 4.0, "watts": "auto"})
ARGUMENTS = ["--label", "rack=3", "--cost", "capex=4200,years=4,watts=auto"]
WRITTEN: dict[str, Any] = {"image": "registry.lan/servefit:1", "cpus": 8, "memory": "16Gi"}


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd to ask")
@pytest.mark.parametrize("folder", ["plain", "100% of $it"])
def test_systemd_takes_the_unit_without_a_word(tmp_path: Path, folder: str) -> None:
    python = tmp_path / folder / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    path = tmp_path / "servefit-agent.service"
    path.write_text(systemd.unit(AGENT, python=str(python)))
    ended = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_unit_leaves_to_the_agent_what_envelopes_need_and_has_no_database_in_it() -> None:
    lines = systemd.unit(AgentOptions(name="rack3-07"), python="/opt/sf/bin/python").splitlines()
    assert "ExecStart=/opt/sf/bin/python -m servefit agent --name rack3-07" in lines
    assert "EnvironmentFile=/etc/servefit/agent.env" in lines
    assert {"Restart=on-failure", "Delegate=yes", "ProtectControlGroups=no", "ReadWritePaths=/run/lock"} <= set(lines)
    # What would keep the agent from CPUs or from compiled code
    forbidden = ("Nice=", "AllowedCPUs=", "CPUAffinity=", "MemoryDenyWriteExecute=", "PrivateDevices=", "CPUQuota=")
    assert not [line for line in lines if line.startswith(forbidden)]
    assert not [line for line in lines if line.startswith("Environment=") and "STORAGE" in line]


def sbatch(script: str, home: Path, content: str | None, mode: int = 0o600) -> subprocess.CompletedProcess[str]:
    """Run a script as SLURM does on a node."""
    variables = home / ".config/servefit/agent.env"
    variables.parent.mkdir(parents=True)
    if content is not None:
        variables.write_text(content)
        variables.chmod(mode)
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "SLURMD_NODENAME": "node-12"}
    return subprocess.run(["bash"], input=script, capture_output=True, text=True, env=environment)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A Python that says what it was started with."""
    path = tmp_path / "python"
    path.write_text('#!/bin/sh\necho "$SERVEFIT_STORAGE $*"\n')
    path.chmod(0o755)
    return path


@pytest.mark.integration
def test_slurm_lends_whole_nodes_once_each_to_an_agent_that_ends_when_idle(tmp_path: Path, python: Path) -> None:
    script = slurm.script(AGENT, nodes=4, partition="gpu", python=str(python))
    options = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --exclusive", "#SBATCH --no-requeue", "#SBATCH --array=1-4", "#SBATCH --partition=gpu"} <= {
        *options
    }
    # sbatch reads no options after the first command
    assert script.index(options[-1]) < script.index("\nset ")
    url = "postgresql://u:p%40ss@db.lan/d?a=b&c=d"
    ended = sbatch(script, tmp_path / "home", f"SERVEFIT_STORAGE='{url}'\n")
    assert ended.stderr == ""
    expected = f"{url} -m servefit agent {' '.join(ARGUMENTS)} --idle-exit 120s --name node-12\n"
    assert ended.stdout == expected


@pytest.mark.integration
@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("SERVEFIT_STORAGE=x\n", 0o644, "can be read by others"),
        ("OTHER=x\n", 0o600, "is not set in"),
        (None, 0, "No such file"),
    ],
)
def test_the_script_of_slurm_starts_nothing_without_a_database_of_its_owners_alone(
    tmp_path: Path, python: Path, content: str | None, mode: int, said: str
) -> None:
    ended = sbatch(slurm.script(AGENT, python=str(python)), tmp_path / "home", content, mode)
    assert ended.returncode != 0
    assert said in ended.stderr
    assert ended.stdout == ""


@pytest.mark.integration
def test_bash_reads_the_script_of_slurm_whatever_the_python_is_called() -> None:
    script = slurm.script(AGENT, python="/opt/it's $(here)/python")
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def pods(text: str) -> list[dict[str, Any]]:
    return [document["spec"]["template"]["spec"] for document in yaml.safe_load_all(text)]


@pytest.mark.parametrize("nodes", [None, 3])
def test_a_pod_of_kubernetes_is_guaranteed_its_cpus_and_has_the_database_from_a_secret(nodes: int | None) -> None:
    for pod in pods(kubernetes.manifests(AGENT, nodes=nodes, **WRITTEN)):
        (container,) = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"] == {"cpu": "8", "memory": "16Gi"}
        environment = {variable["name"]: variable for variable in container["env"]}
        reference = environment["SERVEFIT_STORAGE"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "servefit-storage", "key": "SERVEFIT_STORAGE"}
        assert environment["NODE_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
        idle = [] if nodes is None else ["--idle-exit", "120s"]
        assert container["command"] == [
            *("python3", "-m", "servefit", "agent", *ARGUMENTS, *idle, "--name", "$(NODE_NAME)")
        ]
        assert pod["securityContext"]["runAsNonRoot"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.integration
@pytest.mark.parametrize("nodes", [None, 3])
def test_what_a_pod_of_kubernetes_could_not_deliver_stays_on_its_node_for_the_next_one(
    nodes: int | None, tmp_path: Path
) -> None:
    for pod in pods(kubernetes.manifests(AGENT, nodes=nodes, **WRITTEN)):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        state = volumes["state"]["hostPath"]
        assert state["type"] == "DirectoryOrCreate"
        (container,), (owning,) = pod["containers"], pod["initContainers"]
        (home,) = [variable["value"] for variable in container["env"] if variable["name"] == "SERVEFIT_HOME"]
        mounted = {"name": "state", "mountPath": home}
        assert mounted in container["volumeMounts"]
        assert owning["volumeMounts"] == [mounted]
        # The node makes the folder for root; its command gives it to the user of the agent.
        here = tmp_path / f"state-{nodes}"
        here.mkdir(exist_ok=True)
        program, option, code = owning["command"]
        assert (program, option) == ("python3", "-c")
        code = code.replace(home, str(here)).replace(str(kubernetes.USER), str(os.getuid()))
        subprocess.run([sys.executable, option, code], check=True)
        assert stat.S_IMODE(here.stat().st_mode) == 0o700
        assert here.stat().st_uid == os.getuid()


def test_so_many_nodes_have_a_job_each_that_is_not_begun_again_and_no_two_are_on_one() -> None:
    jobs = list(yaml.safe_load_all(kubernetes.manifests(AGENT, nodes=3, name="north", **WRITTEN)))
    assert [(job["kind"], job["metadata"]["name"]) for job in jobs] == [
        ("Job", f"north-{number}") for number in (1, 2, 3)
    ]
    for job in jobs:
        assert job["spec"]["backoffLimit"] == 0
        pod = job["spec"]["template"]["spec"]
        assert pod["restartPolicy"] == "Never"
        (apart,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert apart["topologyKey"] == "kubernetes.io/hostname"
        assert apart["labelSelector"]["matchLabels"] == job["spec"]["template"]["metadata"]["labels"]


def test_without_a_number_of_nodes_all_of_them_have_an_agent_that_stays() -> None:
    (daemons,) = yaml.safe_load_all(kubernetes.manifests(AGENT, nodes=None, **WRITTEN))
    assert daemons["kind"] == "DaemonSet"
    assert daemons["spec"]["selector"]["matchLabels"] == daemons["spec"]["template"]["metadata"]["labels"]
    with pytest.raises(SpecError, match="--nodes"):
        kubernetes.manifests(AgentOptions(idle_exit_s=60), nodes=None, **WRITTEN)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": None}, "image is not given"),
        ({"image": "a b"}, "is not the name of a container image"),
        ({"image": ""}, "is not the name of a container image"),
        ({"cpus": None}, "cpus is not given"),
        ({"cpus": 0}, "cpus: 0 is not above zero"),
        ({"memory": None}, "memory is not given"),
        ({"memory": "16"}, "is not a memory size of Kubernetes"),
        ({"memory": "-1Gi"}, "is not a memory size of Kubernetes"),
        ({"nodes": 0}, "nodes: 0 is not above zero"),
        ({"name": "Agents"}, "is not up to 40 small letters"),
        ({"name": "a\nb"}, "is not up to 40 small letters"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_here(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        kubernetes.manifests(AGENT, **{"nodes": 2, **WRITTEN, **change})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes": 0}, "nodes: 0"),
        ({"partition": "a\n#SBATCH --uid=0"}, "partition"),
        ({"partition": ""}, "partition"),
        ({"name": "-x"}, "name"),
        ({"python": "python3"}, "is no absolute path"),
        ({"python": "/a\nb"}, "characters"),
    ],
)
def test_what_would_be_another_line_of_a_script_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        slurm.script(AGENT, **change)
