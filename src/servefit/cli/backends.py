"""``servefit backends``: which backends run here, and which take a model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from servefit.cli.opening import FixedInputOptions
from servefit.cli.options import TrustOptions
from servefit.cli.output import FormatOption, OutputFormat, emit
from servefit.errors import SpecError
from servefit.report.table import Table


def backends(
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL]", help="Also say which take this model.")] = None,
    *,
    fixed: FixedInputOptions,
    trust: TrustOptions,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """List the backends that run here (and take MODEL), or why not and what would change it.

    Example: servefit backends model.ubj
    """
    from servefit.backends.model import Model

    said = fixed.said()
    if model is None and (fixed.inputs or fixed.pad):
        raise SpecError(
            "model", None, "is missing, of which inputs are said", remedy="name it: servefit backends MODEL"
        )
    opened = None
    if model is not None:
        opened = Model.load(model, **asdict(trust), inputs=said.inputs, pad=said.pad)
    documents = _backend_documents(opened)
    columns = ["backend", "version", "precision", "CPU", "CUDA"]
    columns += [] if opened is None else ["takes MODEL", "compile s"]
    rows = [[cells[column] for column in columns] for cells in map(_cells, documents)]
    emit(Table(columns=tuple(columns), rows=rows), {"schema": 1, "backends": documents}, form)


def _backend_documents(model: Any) -> list[dict[str, Any]]:
    from servefit.backends.finding.capabilities import ask_backends
    from servefit.backends.finding.registry import backend_names
    from servefit.backends.types import Target

    described = []
    for name, backend in ask_backends(backend_names(), model).items():
        on_cpu, on_cuda = backend.probe(Target.CPU), backend.probe(Target.CUDA)
        takes = None if model is None else backend.supports(model)
        described.append(
            {
                "name": name,
                "version": on_cpu.version,
                "precision": backend.precision.value,
                "targets": {
                    target.value: {
                        "available": availability.available,
                        "reason": availability.reason,
                        "remedy": availability.remedy,
                    }
                    for target, availability in ((Target.CPU, on_cpu), (Target.CUDA, on_cuda))
                },
                "takes_model": None
                if takes is None
                else {"available": takes.available, "reason": takes.reason, "remedy": takes.remedy},
                "compile_estimate_s": None
                if takes is None or not takes.available
                else round(backend.compile_estimate_s(model), 1),
            }
        )
    return described


def _cells(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "backend": document["name"],
        "version": document["version"],
        "precision": document["precision"],
        "CPU": _availability_text(document["targets"]["cpu"]),
        "CUDA": _availability_text(document["targets"]["cuda"]),
        "takes MODEL": _availability_text(document["takes_model"]),
        "compile s": document["compile_estimate_s"],
    }


def _availability_text(availability: dict[str, Any] | None) -> str | None:
    if availability is None:
        return None
    if availability["available"]:
        return "yes"
    return "no: " + "; ".join(part for part in (availability["reason"], availability["remedy"]) if part)
