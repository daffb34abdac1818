"""The functions of a script: importing ``code/inference.py`` and finding out whether it can be called.

The contract is that of the Transformer in SageMaker's inference toolkit
(https://github.com/aws/sagemaker-inference-toolkit): ``model_fn(model_dir)``, ``input_fn(body, content_type)``,
``predict_fn(data, model)`` and ``output_fn(prediction, accept)``, or ``transform_fn(model, body, content_type,
accept)`` in place of the last three; around ``model_fn``, ``pre_model_fn(model_dir)`` and ``model_warmup_fn(model_dir,
model)``. Each may take one argument more, the context.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from servefit.backends.model.scripts import SCRIPT
from servefit.errors import UnsupportedModel

Function: TypeAlias = Callable[..., Any]

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "pre_model_fn": ("model_dir",),
    "model_fn": ("model_dir",),
    "model_warmup_fn": ("model_dir", "model"),
    "input_fn": ("body", "content_type"),
    "predict_fn": ("data", "model"),
    "output_fn": ("prediction", "accept"),
    "transform_fn": ("model", "body", "content_type", "accept"),
}
"""The functions of the contract, with what each is called with."""

_SHOWN = 300
"""So many characters of what a script raises are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptContext:
    """The last argument of functions that take one more: what SageMaker's context says of the model, and no request."""

    system_properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """The functions that a script has, called with what the contract says, and a context where they take one."""

    by_name: Mapping[str, Function]

    def get(self, name: str) -> Function | None:
        return self.by_name.get(name)


def import_functions(model_dir: Path) -> Functions:
    """Import the script of an unpacked archive in this process, and return its functions.

    As in SageMaker's containers its folder comes first where modules are looked for, and it is the module
    ``inference``. Nothing is written beside it. Raises UnsupportedModel where it does not import, lacks a function that
    has no default, or has one that cannot be called as the contract says.
    """
    file = model_dir / SCRIPT
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise UnsupportedModel(f"{SCRIPT} that Python does not import")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except MemoryError:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise UnsupportedModel(
            f"{SCRIPT} does not import: {said(error, file.parent)}",
            remedy=f"install what it needs here, such as: pip install {package}",
        ) from error
    except BaseException as error:
        remedy = "mend the script, install what it needs, or set the variables that it reads"
        raise UnsupportedModel(f"{SCRIPT} does not import: {said(error, file.parent)}", remedy=remedy) from error
    return _found(module, ScriptContext(system_properties={"model_dir": str(model_dir), "gpu_id": None}))


def said(error: BaseException, code: Path) -> str:
    """Return the last line of the traceback of ``error``, and the line of the script that it came from."""
    described = traceback.TracebackException(type(error), error, None)
    described.__notes__ = None  # they would be last
    last = " ".join(list(described.format_exception_only())[-1].split())[:_SHOWN]
    lines = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(f"{code}{os.sep}")
    ]
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{last} (line {error.lineno})"
    if not lines:
        return last
    name = Path(lines[-1].filename).relative_to(code)
    return f"{last} (line {lines[-1].lineno} of {name})"


def _found(module: Any, context: ScriptContext) -> Functions:
    own = {name: getattr(module, name) for name in ARGUMENTS if hasattr(module, name)}
    for name, function in own.items():
        if not callable(function):
            raise UnsupportedModel(
                f"{SCRIPT} has {name}, which is no function but of type {type(function).__name__}",
                remedy="give the function that name alone",
            )
    if "model_fn" not in own:
        has = f"it has {', '.join(own)}" if own else "it has none of the functions of SageMaker's contract"
        raise UnsupportedModel(
            f"{SCRIPT} has no model_fn: {has}",
            remedy="write model_fn(model_dir), which loads the model and returns it",
        )
    beside = [name for name in ("input_fn", "predict_fn", "output_fn") if name in own]
    if "transform_fn" in own and beside:
        raise UnsupportedModel(
            f"{SCRIPT} has transform_fn and {', '.join(beside)}, of which SageMaker takes the one or the others",
            remedy="leave transform_fn or the others out",
        )
    return Functions(by_name={name: _called(name, function, context) for name, function in own.items()})


def _called(name: str, function: Function, context: ScriptContext) -> Function:
    """Return ``function`` as it is called with the arguments of the contract alone. Raises UnsupportedModel where it
    takes neither these nor one more."""
    wanted = ARGUMENTS[name]
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: it says nothing of its parameters
        return function
    takes_context = len(signature.parameters) == len(wanted) + 1 and not any(
        parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in signature.parameters.values()
    )
    try:
        signature.bind(*wanted, *((context,) if takes_context else ()))
    except TypeError as error:
        raise UnsupportedModel(
            f"{SCRIPT} has {name}{signature}, which is called as {name}({', '.join(wanted)}): {error}",
            remedy="give it these parameters",
        ) from error
    if not takes_context:
        return function

    def with_context(*arguments: Any) -> Any:
        return function(*arguments, context)

    return with_context
