"""``servefit fleet manifest``: what starts agents in place of SSH, printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import typer

from servefit.cli.completion import one_of
from servefit.cli.output import print_text
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


def manifest(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="systemd|slurm|kubernetes", autocompletion=one_of(*_MANIFESTS), help="What is to start the agents."
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="systemd: name of the agent, that of the host by default. Otherwise of the job; its agents are called "
            "as their nodes.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="systemd: where a balancer reaches the endpoint of the host: 10.0.3.7, or 10.0.3.7:8000.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="k=v", help="A label of the hosts. Repeatable.", rich_help_panel=MACHINE),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            metavar="per_hour=0.21",
            help="What a host costs: that, or capex=4200,years=4,watts=auto.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    idle_exit: Annotated[
        str | None,
        typer.Option(
            "--idle-exit",
            metavar="120s",
            help="Agents end once they had nothing to do for so long. Default: 120s where nodes are lent, else never.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    allow_env: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-env",
            metavar="VARIABLE",
            help="Environment variable that jobs may set there. Repeatable.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    trust_pickle: Annotated[
        bool,
        typer.Option("--trust-pickle", help="Let agents open pickles and modules of PyTorch, which run their code."),
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option("--trust-code", help="Let agents run the scripts of models (code/inference.py)."),
    ] = False,
    python: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="systemd, slurm: the Python with servefit, there. Default: this one.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="slurm, kubernetes: agents on so many nodes. Default: 1 with slurm, all nodes with kubernetes.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    partition: Annotated[
        str | None, typer.Option(metavar="NAME", help="slurm: the partition.", rich_help_panel=MACHINE)
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="kubernetes: a container image with servefit.", rich_help_panel=MACHINE),
    ] = None,
    cpus: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="kubernetes: CPUs of a pod, for it alone.", rich_help_panel=MACHINE),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="16Gi", help="kubernetes: memory of a pod.", rich_help_panel=MACHINE)
    ] = None,
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
    given = {
        "address": address, "python": python, "nodes": nodes, "partition": partition, "image": image, "cpus": cpus,
        "memory": memory,
    }  # fmt: skip
    _check_fits(kind, [option for option, value in given.items() if value is not None])
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
            text = systemd.unit(agent, python=python)
        case "slurm":
            nodes = 1 if nodes is None else nodes
            text = slurm.script(agent, name=name, nodes=nodes, partition=partition, python=python)
        case _:
            text = kubernetes.manifests(agent, name=name, image=image, nodes=nodes, cpus=cpus, memory=memory)
    print_text(text)


def _check_fits(kind: str, given: Iterable[str]) -> None:
    """Raise SpecError for an option that the manifest of ``kind`` has no use for."""
    for option in given:
        kinds = _FITS[option]
        if kind not in kinds:
            raise SpecError(option, None, f"is for {' and '.join(kinds)} alone", remedy="leave it out")
