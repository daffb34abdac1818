"""The files of a bundle that hold secrets, which are their owner's alone: variables for a shell and for systemd, and a
Secret for Kubernetes."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping

from servefit.errors import SpecError

VARIABLES = "secrets.env"
MANIFEST = "secret.yaml"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED_APART = re.compile(r"(['\\])")

_HEADER = """\
# Secrets of this bundle. ./run reads them, and so does the unit of systemd; keep the file to yourself (mode 0600).
"""

_MANIFEST = """\
# kubectl apply -f {file}; keep the file to yourself (mode 0600)
apiVersion: v1
kind: Secret
metadata:
  name: {name}
type: Opaque
data:
{data}"""


def check_names(secrets: Mapping[str, str]) -> None:
    """Raise SpecError for a variable that no shell could set."""
    for name in secrets:
        if not _NAME.fullmatch(name):
            raise SpecError("env", name, "is a secret, and no variable that a shell could set")


def variables_file(secrets: Mapping[str, str]) -> str:
    """Return the text of secrets.env."""
    return _HEADER + "".join(f"{name}={_quoted(value)}\n" for name, value in secrets.items())


def _quoted(value: str) -> str:
    """Return a value in the quotes that a shell and systemd both read: single ones, in which everything stands for
    itself, and double ones around what systemd once took for an escape within single ones."""
    parts = _QUOTED_APART.split(value)
    return (
        "".join(_double_quoted(part) if _QUOTED_APART.fullmatch(part) else f"'{part}'" for part in parts if part)
        or "''"
    )


def _double_quoted(character: str) -> str:
    return '"\\\\"' if character == "\\" else f'"{character}"'


def secret_manifest(secrets: Mapping[str, str], name: str) -> str:
    """Return the text of secret.yaml, for a Secret called ``name``."""
    data = "".join(f"  {key}: {b64encode(value.encode()).decode()}\n" for key, value in secrets.items())
    return _MANIFEST.format(file=MANIFEST, name=name, data=data)
