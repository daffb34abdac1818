"""Command line options of an agent, for every starter: OpenSSH, systemd, SLURM or Kubernetes.

The database is never among it: a command line can be read by every user of a host, and a URL may hold a password. It is
handed over in an environment variable (``handover``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from servefit.checks import check_above_zero
from servefit.errors import SpecError
from servefit.search.fleet.plan.balancers.servers import check_address
from servefit.search.request.job_request import check_variable

CONSENT = "start the agent with --allow-env {name}"
"""The remedy where an order sets a variable that is not on the list."""

COST_KEYS = ("per_hour", "capex", "years", "watts")
MEASURED_WATTS = "auto"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
"""Both as Kubernetes has them, 63 characters, so that a node's own names and labels can be taken over."""

_LIKE_A_NAME = (
    "is not 1 to 63 letters, digits, dots, dashes and underscores that begin and end with a letter or a digit"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """The options of ``servefit agent`` but for the database.

    Args:
        name: The name of the agent; None leaves it to the agent, which takes that of its host.
        address: Where balancers reach the endpoints of its host, with or without a port; None is not known.
        labels: What hosts are chosen by, by key.
        cost: What the host costs, by ``COST_KEYS``: ``per_hour``, or ``capex`` over ``years``, and ``watts``, a number
            or "auto", which is measured.
        idle_exit_s: The agent ends once it had nothing to do for so long; None is never.
        allow_env: Environment variables that jobs may set there, beside those that tune runtimes.
        trust_pickle: The agent unpickles models, which runs whatever code they hold.
        trust_code: The agent runs the scripts of models (code/inference.py).

    Raises SpecError for a value that no agent takes.
    """

    name: str | None = None
    address: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    cost: Mapping[str, float | str] = field(default_factory=dict)
    idle_exit_s: float | None = None
    allow_env: tuple[str, ...] = ()
    trust_pickle: bool = False
    trust_code: bool = False

    def __post_init__(self) -> None:
        if self.name is not None:
            check_agent_name("name", self.name)
        if self.address is not None:
            check_address("address", self.address)
        check_labels("label", self.labels)
        check_cost("cost", self.cost)
        if self.idle_exit_s is not None:
            check_above_zero("idle_exit", self.idle_exit_s)
        for variable in self.allow_env:
            check_variable("allow_env", variable)

    def arguments(self) -> list[str]:
        """Return the words that follow ``servefit agent``."""
        words = [] if self.name is None else ["--name", self.name]
        words += [] if self.address is None else ["--address", self.address]
        for key, value in self.labels.items():
            words += ["--label", f"{key}={value}"]
        if self.cost:
            words += ["--cost", ",".join(f"{key}={_digits(value)}" for key, value in self.cost.items())]
        if self.idle_exit_s is not None:
            words += ["--idle-exit", f"{_digits(self.idle_exit_s)}s"]
        for variable in self.allow_env:
            words += ["--allow-env", variable]
        words += ["--trust-pickle"] if self.trust_pickle else []
        return [*words, "--trust-code"] if self.trust_code else words


def check_agent_name(field: str, name: str) -> None:
    """Raise SpecError for what cannot be the name of an agent."""
    if not _NAME.fullmatch(name):
        raise SpecError(field, name, _LIKE_A_NAME)


def check_labels(field: str, labels: Mapping[str, str]) -> None:
    """Raise SpecError for labels that hosts cannot be chosen by. They are free of commas and equals signs, which
    selectors have a use for."""
    for key, value in labels.items():
        if not _NAME.fullmatch(key):
            raise SpecError(f"{field} {key!r}", None, _LIKE_A_NAME)
        if not _LABEL_VALUE.fullmatch(value):
            raise SpecError(f"{field} {key}", value, _LIKE_A_NAME)


def parse_labels(field: str, texts: Iterable[str]) -> dict[str, str]:
    """Parse texts such as "rack=3", into labels by key. Raises SpecError for ``field``."""
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise SpecError(field, text, "has no value", remedy="write rack=3")
        if key in labels:
            raise SpecError(field, key, "is given twice")
        labels[key] = value
    check_labels(field, labels)
    return labels


def parse_cost(field: str, text: str) -> dict[str, float | str]:
    """Parse "per_hour=0.21" or "capex=4200,years=4,watts=auto". Raises SpecError for ``field``."""
    cost: dict[str, float | str] = {}
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise SpecError(field, text, "is not a cost", remedy="write per_hour=0.21 or capex=4200,years=4,watts=auto")
        if key in cost:
            raise SpecError(field, text, f"says {key} twice")
        cost[key] = value if (key, value) == ("watts", MEASURED_WATTS) else _number(f"{field} {key}", value)
    check_cost(field, cost)
    return cost


def check_cost(field: str, cost: Mapping[str, Any]) -> None:
    """Raise SpecError for what is not the cost of a host."""
    for key, value in cost.items():
        if key not in COST_KEYS:
            raise SpecError.unknown(field, key, COST_KEYS)
        if key == "watts" and value == MEASURED_WATTS:
            continue
        check_above_zero(f"{field} {key}", value)
    if "per_hour" in cost and len(cost) > 1:
        raise SpecError(field, None, "has per_hour and what an owner pays", remedy="give one of them")
    if ("capex" in cost) != ("years" in cost):
        raise SpecError(field, None, "has one of capex and years", remedy="give both, as in capex=4200,years=4")


def _number(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise SpecError(field, text, "is not a number") from error


def _digits(number: float | str) -> str:
    """Return a number as text that reads back the same, without a point where it is whole."""
    if isinstance(number, str):
        return number
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e15 else repr(float(number))
