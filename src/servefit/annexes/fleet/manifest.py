"""``servefit fleet manifest``: what starts agents in place of SSH, printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from servefit.cli.completion import one_of
from servefit.cli.output import print_text
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import MACHINE, OUTPUT

_MANIFESTS = ("systemd", "slurm", "kubernetes")

_FITS: Mapping[str, tuple[str, ...]] = {
    "address": ("systemd",),
    "python": ("systemd", "slurm"),
    "nodes": ("slurm", "kubernetes"),
    "partition": ("slurm",),
    "image": ("kubernetes",),
    "cpus": ("kubernetes",),
    "memory": ("kubernetes",),
}
"""The manifests that an option is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOptions:
    """The place of the agents, as some of the manifests describe it."""

    python: Annotated[
        str | None,
        option("systemd, slurm: the Python with servefit, there. Default: this one.", MACHINE, "PATH"),
    ] = None
    nodes: Annotated[
        int | None,
        option(
            "slurm, kubernetes: agents on so many nodes. Default: 1 with slurm, all nodes with kubernetes.",
            MACHINE,
            "N",
            least=1,
        ),
    ] = None
    partition: Annotated[str | None, option("slurm: the partition.", MACHINE, "NAME")] = None
    image: Annotated[
        str | None,
        option("kubernetes: a container image with servefit.", MACHINE, "IMAGE"),
    ] = None
    cpus: Annotated[
        int | None,
        option("kubernetes: CPUs of a pod, for it alone.", MACHINE, "N", least=1),
    ] = None
    memory: Annotated[str | None, option("kubernetes: memory of a pod.", MACHINE, "16Gi")] = None


def manifest(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="systemd|slurm|kubernetes", autocompletion=one_of(*_MANIFESTS), help="What is to start the agents."
        ),
    ],
    name: Annotated[
        str | None,
        option(
            "systemd: name of the agent, that of the host by default. Otherwise of the job; its agents are called "
            "as their nodes.",
            OUTPUT,
            "NAME",
        ),
    ] = None,
    address: Annotated[
        str | None,
        option(
            "systemd: where a balancer reaches the endpoint of the host: 10.0.3.7, or 10.0.3.7:8000.",
            MACHINE,
            "ADDRESS",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        option("A label of the hosts. Repeatable.", MACHINE, "k=v"),
    ] = None,
    cost: Annotated[
        str | None,
        option("What a host costs: that, or capex=4200,years=4,watts=auto.", MACHINE, "per_hour=0.21"),
    ] = None,
    idle_exit: Annotated[
        str | None,
        option(
            "Agents end once they had nothing to do for so long. Default: 120s where nodes are lent, else never.",
            MACHINE,
            "120s",
        ),
    ] = None,
    allow_env: Annotated[
        list[str] | None,
        option("Environment variable that jobs may set there. Repeatable.", MACHINE, "VARIABLE"),
    ] = None,
    *,
    trust_pickle: Annotated[
        bool,
        option("Let agents open pickles and modules of PyTorch, which run their code."),
    ] = False,
    trust_code: Annotated[
        bool,
        option("Let agents run the scripts of models (code/inference.py)."),
    ] = False,
    place: PlaceOptions,
) -> None:
    """Print what starts agents: a unit of systemd, a script for sbatch, or manifests for kubectl.

    The URL of the database is in none of them: it is read from a file that is its owner's alone, or from a Secret. The
    first lines say how to make it.

    Example: servefit fleet manifest kubernetes --image registry.lan/servefit --cpus 8 --memory 16Gi --nodes 4
    """
    from servefit.quantities import parse_duration_s
    from servefit.search.fleet.launching.agent_options import AgentOptions, parse_cost, parse_labels
    from servefit.search.fleet.launching.manifests import kubernetes, slurm, systemd

    if kind not in _MANIFESTS:
        raise SpecError.unknown("manifest", kind, _MANIFESTS)
    said = {"address": address, **asdict(place)}
    _check_fits(kind, [name for name, value in said.items() if value is not None])
    agent = AgentOptions(
        name=name if kind == "systemd" else None,
        address=address,
        labels=parse_labels("label", label or ()),
        cost={} if cost is None else parse_cost("cost", cost),
        idle_exit_s=None if idle_exit is None else parse_duration_s("idle_exit", idle_exit),
        allow_env=tuple(allow_env or ()),
        trust_pickle=trust_pickle,
        trust_code=trust_code,
    )
    match kind:
        case "systemd":
            text = systemd.unit(agent, python=place.python)
        case "slurm":
            nodes = 1 if place.nodes is None else place.nodes
            text = slurm.script(agent, name=name, nodes=nodes, partition=place.partition, python=place.python)
        case _:
            text = kubernetes.manifests(
                agent, name=name, image=place.image, nodes=place.nodes, cpus=place.cpus, memory=place.memory
            )
    print_text(text)


def _check_fits(kind: str, options: Iterable[str]) -> None:
    """Raise SpecError for an option that the manifest of ``kind`` has no use for."""
    for name in options:
        kinds = _FITS[name]
        if kind not in kinds:
            raise SpecError(name, None, f"is for {' and '.join(kinds)} alone", remedy="leave it out")
