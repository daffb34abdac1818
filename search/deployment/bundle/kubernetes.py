"""The manifests of a bundle: KServe's InferenceService, and a plain Deployment with its Service.

The memory that is requested is that which was measured, and some more; the limit is the profile's. A kubelet with the
static CPU policy gives CPUs of their own, the envelope that was measured, only to pods that request all they are
limited to (class Guaranteed): the manifests say which line to change for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING

from servefit.search.deployment.bundle.container import USER
from servefit.search.deployment.bundle.contents import PORT
from servefit.search.deployment.bundle.memory import own_cpus, requested_mib, why_requested
from servefit.search.deployment.bundle.secret_files import MANIFEST

if TYPE_CHECKING:
    from servefit.search.deployment.bundle.contents import Contents

_KSERVE = """\
# kubectl apply {secret}-f kserve.yaml
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {label}
  labels:
    app.kubernetes.io/name: {label}
    app.kubernetes.io/version: "{version}"
  annotations:
    # Without Knative's proxy beside it, whose share of a CPU would keep the pod from CPUs of its own
    serving.kserve.io/deploymentMode: RawDeployment
spec:
  predictor:
    minReplicas: {replicas}
    terminationGracePeriodSeconds: {stop_s}
{security}    containers:
      - name: kserve-container
{container}"""

_PLAIN = """\
# kubectl apply {secret}-f kubernetes.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {label}
  labels:
    app.kubernetes.io/name: {label}
    app.kubernetes.io/version: "{version}"
spec:
  replicas: {replicas}
  selector:
    matchLabels:
      app.kubernetes.io/name: {label}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: {label}
        app.kubernetes.io/version: "{version}"
    spec:
      terminationGracePeriodSeconds: {stop_s}
{security}      containers:
        - name: endpoint
{container}---
apiVersion: v1
kind: Service
metadata:
  name: {label}
  labels:
    app.kubernetes.io/name: {label}
spec:
  selector:
    app.kubernetes.io/name: {label}
  ports:
    - name: http
      port: 80
      targetPort: {port}
"""

_SECURITY = f"""\
securityContext:
  runAsNonRoot: true
  runAsUser: {USER}
  runAsGroup: {USER}
  seccompProfile:
    type: RuntimeDefault
"""

_COMMENT_WIDTH = 100
"""With what the container is indented by, comments stay within 120 characters."""

_REFERENCE = """\
  - name: {name}
    valueFrom:
      secretKeyRef: {{name: {secret}, key: {name}}}
"""

_CONTAINER = """\
image: {image}
ports:
  - name: http1
    containerPort: {port}
    protocol: TCP
env:
{environment}resources:
{why}
  requests: {requests}
  limits: {limits}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
startupProbe:
  httpGet:
    path: /v2/health/ready
    port: {port}
  periodSeconds: 1
  failureThreshold: 120
readinessProbe:
  httpGet:
    path: /v2/health/ready
    port: {port}
  periodSeconds: 2
  timeoutSeconds: 2
livenessProbe:
  httpGet:
    path: /v2/health/live
    port: {port}
  periodSeconds: 10
  timeoutSeconds: 5
"""


def kserve(contents: Contents) -> str:
    """Return the text of kserve.yaml."""
    # This is how KServe is told which protocol a container of one's own speaks.
    return _fill_template(_KSERVE, contents, {"PROTOCOL": "v2"}, security=4, container=8)


def plain(contents: Contents) -> str:
    """Return the text of kubernetes.yaml."""
    return _fill_template(_PLAIN, contents, {}, security=6, container=10)


def _fill_template(
    template: str, contents: Contents, environment: dict[str, str], *, security: int, container: int
) -> str:
    """Return ``template`` with everything put in; ``security`` and ``container`` are the spaces that their parts are
    indented by."""
    return template.format(
        secret=f"-f {MANIFEST} " if contents.secrets else "",
        label=contents.label,
        version=contents.version,
        replicas=contents.deployable.instances,
        stop_s=contents.stop_s,
        port=PORT,
        security=_indented(_SECURITY, security),
        container=_indented(_container(contents, environment), container),
    )


def _container(contents: Contents, environment: dict[str, str]) -> str:
    limits = {"cpu": str(contents.deployable.profile.vcpus), "memory": f"{contents.memory_mib}Mi"}
    if contents.on_gpu:
        limits["nvidia.com/gpu"] = str(contents.deployable.profile.gpus)
    variables = environment | contents.environment
    return _CONTAINER.format(
        image=_text(contents.image),
        port=PORT,
        environment="".join(
            [
                *(f"  - name: {_text(name)}\n    value: {_text(value)}\n" for name, value in variables.items()),
                *(_REFERENCE.format(name=name, secret=contents.secret) for name in contents.secrets),
            ]
        ),
        why=fill(
            f"{why_requested(contents)}. {own_cpus(contents)}.",
            width=_COMMENT_WIDTH,
            initial_indent="  # ",
            subsequent_indent="  # ",
        ),
        requests=_mapping(limits | {"memory": f"{requested_mib(contents)}Mi"}),
        limits=_mapping(limits),
    )


def _mapping(quantities: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {_text(value)}" for name, value in quantities.items()) + "}"


def _text(value: str) -> str:
    """Return a string, quoted: YAML reads JSON's strings, and takes others for numbers, dates and truths."""
    return json.dumps(value)


def _indented(text: str, spaces: int) -> str:
    return "".join(f"{' ' * spaces}{line}\n" for line in text.splitlines())
