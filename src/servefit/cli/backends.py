"""``servefit backends``: which backends run here, and which take a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from servefit.cli.options import TrustOption
from servefit.cli.output import Format, FormatOption, emit
from servefit.report.table import Table


def backends(
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL]", help="Also say which take this model.")] = None,
    trust_pickle: TrustOption = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the backends that run here (and take MODEL), or why not and what would change it.

    Example: servefit backends model.ubj
    """
    from servefit.backends.model import Model

    opened = None if model is None else Model.load(model, trust_pickle=trust_pickle)
    found = _describe(opened)
    columns = ["backend", "version", "CPU", "CUDA"] + ([] if opened is None else ["takes MODEL", "compile s"])
    rows = [[one[column] for column in columns] for one in map(_cells, found)]
    emit(Table(columns=tuple(columns), rows=rows), {"schema": 1, "backends": found}, form)


def _describe(model: Any) -> list[dict[str, Any]]:
    from servefit.backends.capabilities import ask_backends
    from servefit.backends.registry import backend_names
    from servefit.backends.types import Target

    described = []
    for name, one in ask_backends(backend_names(), model).items():
        on_cpu, on_cuda = one.probe(Target.CPU), one.probe(Target.CUDA)
        takes = None if model is None else one.supports(model)
        described.append(
            {
                "name": name,
                "version": on_cpu.version,
                "targets": {
                    target.value: {
                        "available": found.available,
                        "reason": found.reason,
                        "remedy": found.remedy,
                    }
                    for target, found in ((Target.CPU, on_cpu), (Target.CUDA, on_cuda))
                },
                "takes_model": None
                if takes is None
                else {"available": takes.available, "reason": takes.reason, "remedy": takes.remedy},
                "compile_estimate_s": None
                if takes is None or not takes.available
                else round(one.compile_estimate_s(model), 1),
            }
        )
    return described


def _cells(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "backend": one["name"],
        "version": one["version"],
        "CPU": _answer(one["targets"]["cpu"]),
        "CUDA": _answer(one["targets"]["cuda"]),
        "takes MODEL": _answer(one["takes_model"]),
        "compile s": one["compile_estimate_s"],
    }


def _answer(found: dict[str, Any] | None) -> str | None:
    if found is None:
        return None
    if found["available"]:
        return "yes"
    return "no: " + "; ".join(part for part in (found["reason"], found["remedy"]) if part)
