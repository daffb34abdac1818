"""Manifests that run agents on Kubernetes: on some nodes, a Job for each, or on all nodes, a DaemonSet.

A pod requests all that it is limited to (class Guaranteed): a kubelet with the static CPU policy gives it CPUs of its
own then.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.checks import check_whole
from servefit.errors import SpecError
from servefit.search.fleet.launching.handover import STORAGE_VARIABLE
from servefit.search.fleet.launching.manifests.command import IDLE_EXIT_S, agent_command, checked_name

if TYPE_CHECKING:
    from servefit.search.fleet.launching.agent_options import AgentOptions

SECRET = "servefit-storage"  # noqa: S105 - the name of a Secret
USER = 10001
"""The user and the group of the container: not root, the same as in bundles."""

_PYTHON = "python3"

_STATE = "/var/lib/servefit"
"""The state folder, in the container and on the node."""

_OWN_STATE = f"import os; os.chown('{_STATE}', {USER}, {USER}); os.chmod('{_STATE}', 0o700)"

_HEADER = f"""\
# servefit fleet manifest kubernetes ... > agents.yaml
# Before the first time write {STORAGE_VARIABLE}=postgresql://user:password@server/database, without quotes, into a
# file agent.env that you alone can read (mode 0600), and then:
#   kubectl create secret generic {SECRET} --from-env-file=agent.env
#   kubectl apply -f agents.yaml
# A kubelet with the static CPU manager policy gives each pod CPUs of its own, since it requests all that it is limited
# to. Leave to the node what its own daemons take.
"""

_JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}-{number}
  labels:
    app.kubernetes.io/name: {name}
spec:
  # What a pod that failed was measuring is not measured again by itself; the other Jobs go on
  backoffLimit: 0
  ttlSecondsAfterFinished: 3600
  template:
    metadata:
      labels:
        app.kubernetes.io/name: {name}
    spec:
      restartPolicy: Never
      # One pod a node
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - topologyKey: kubernetes.io/hostname
              labelSelector:
                matchLabels:
                  app.kubernetes.io/name: {name}
{pod}"""

_DAEMON_SET = """\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {name}
  labels:
    app.kubernetes.io/name: {name}
spec:
  selector:
    matchLabels:
      app.kubernetes.io/name: {name}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: {name}
    spec:
{pod}"""

_POD = """\
automountServiceAccountToken: false
terminationGracePeriodSeconds: 15
securityContext:
  runAsNonRoot: true
  runAsUser: {user}
  runAsGroup: {user}
  fsGroup: {user}
  seccompProfile:
    type: RuntimeDefault
# What the agent measured and could not deliver yet outlives the pod, in a folder of the node that is given to its user
initContainers:
  - name: state
    image: {image}
    command: {own_state}
    securityContext:
      runAsUser: 0
      runAsNonRoot: false
      allowPrivilegeEscalation: false
      capabilities:
        drop: [ALL]
        add: [CHOWN, FOWNER]
    volumeMounts:
      - name: state
        mountPath: {state}
containers:
  - name: agent
    image: {image}
    command: {command}
    env:
      - name: NODE_NAME
        valueFrom:
          fieldRef: {{fieldPath: spec.nodeName}}
      - name: {storage}
        valueFrom:
          secretKeyRef: {{name: {secret}, key: {storage}}}
      - name: SERVEFIT_HOME
        value: {state}
    resources:
      requests: {resources}
      limits: {resources}
    securityContext:
      allowPrivilegeEscalation: false
      capabilities:
        drop: [ALL]
    volumeMounts:
      - name: state
        mountPath: {state}
      - name: slot
        mountPath: /run/lock
volumes:
  # A cluster that forbids host paths can have an emptyDir here, and no initContainers: what a pod could not deliver is
  # lost with it then, and measured again.
  - name: state
    hostPath:
      path: {state}
      type: DirectoryOrCreate
  # Who measures on the node takes turns, also outside of this pod. A cluster that forbids host paths can do without:
  # then nobody else may measure there.
  - name: slot
    hostPath:
      path: /run/lock
      type: Directory
"""

_MEMORY = re.compile(r"[1-9][0-9]*[MGT]i")


def manifests(
    agent: AgentOptions,
    *,
    image: str | None,
    cpus: int | None,
    memory: str | None,
    name: str | None = None,
    nodes: int | None = None,
) -> str:
    """Return manifests that run agents, called as their nodes.

    Args:
        agent: What agents are told, without a name. On some nodes they end when idle, after 120 s unless it says
            otherwise; on all nodes they stay, unless it says otherwise.
        image: A container image in which python3 has servefit.
        cpus: Whole CPUs of a pod.
        memory: Memory of a pod, such as "16Gi".
        name: The name of the DaemonSet, and the beginning of that of each Job.
        nodes: A Job for each of so many nodes; None is a DaemonSet, which is on all.

    Raises SpecError for what is missing or no such thing.
    """
    if image is None or cpus is None or memory is None:
        missing = next(
            field for field, value in (("image", image), ("cpus", cpus), ("memory", memory)) if value is None
        )
        raise SpecError(missing, None, "is not given", remedy="give --image, --cpus and --memory")
    if not image.strip() or not image.isprintable() or " " in image:
        raise SpecError("image", image, "is not the name of a container image")
    check_whole("cpus", cpus, least=1)
    if not _MEMORY.fullmatch(memory):
        raise SpecError("memory", memory, "is not a memory size of Kubernetes", remedy="write 16Gi or 800Mi")
    label = checked_name(name)
    if nodes is None:
        if agent.idle_exit_s is not None:
            problem = "is for agents that may end, and a DaemonSet starts them again"
            raise SpecError("idle_exit", None, problem, remedy="say on how many nodes: --nodes 4")
        return _HEADER + _DAEMON_SET.format(name=label, pod=_pod(agent, image, cpus, memory))
    check_whole("nodes", nodes, least=1)
    lent = agent if agent.idle_exit_s is not None else replace(agent, idle_exit_s=IDLE_EXIT_S)
    pod = _pod(lent, image, cpus, memory)
    return _HEADER + "---\n".join(_JOB.format(name=label, number=number + 1, pod=pod) for number in range(nodes))


def _pod(agent: AgentOptions, image: str, cpus: int, memory: str) -> str:
    """Return the specification of a pod, indented."""
    # Kubernetes puts the name of the node in.
    command = [*agent_command(agent, _PYTHON), "--name", "$(NODE_NAME)"]
    text = _POD.format(
        user=USER,
        image=json.dumps(image),
        command=json.dumps(command),
        storage=STORAGE_VARIABLE,
        secret=SECRET,
        state=_STATE,
        own_state=json.dumps([_PYTHON, "-c", _OWN_STATE]),
        resources=f'{{cpu: "{cpus}", memory: "{memory}"}}',
    )
    return "".join(f"{' ' * 6}{line}\n" for line in text.splitlines())
