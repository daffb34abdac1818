"""Modules of PyTorch, from any of the files that servefit takes, behind the call that sessions of ONNX Runtime have: so
rows go in and predictions come out as they do there (``onnx_io``).

Opening a file runs what code it holds, and native code on what anybody wrote: only child processes and workers do it,
of files that were trusted. A folder of Hugging Face runs the code of the installed transformers alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from servefit.backends.model.given import NOTHING_GIVEN, Given
from servefit.backends.model.input_shapes import InputShape, is_by_position
from servefit.backends.model.torch_archive import said_in
from servefit.backends.model.transformers_folder import ARCHITECTURES, CONFIG, architecture_of, unpack
from servefit.backends.model.types import Format
from servefit.errors import UnsupportedModel

if TYPE_CHECKING:
    import numpy as np

TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""The inputs that encoders of Hugging Face are given, as tokenizers make them."""

_WRAP = "wrap it in a module that takes tensors alone, and save that"
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
"""transformers asks for what it misses, unless it is told that there is no network."""


@dataclass(frozen=True, slots=True)
class TorchModule:
    """A module whose inputs have these ``shapes``, by name; ``call`` takes a tensor for each, in that order, and gives
    whatever the module does. ``source`` is what PyTorch exports to ONNX: a program, or a module. ``said`` is what the
    user said of the inputs: of those that never change it has the values."""

    shapes: Mapping[str, InputShape]
    call: Callable[..., Any]
    source: Any
    said: Given = NOTHING_GIVEN

    def run(self, names: Sequence[str], feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs called ``names`` for the inputs of a request. Raises the errors of the module."""
        import torch

        fed = self._with_constants(feeds)
        tensors = [torch.from_numpy(fed[name]) for name in self.shapes]
        with torch.inference_mode():
            tensors_by_name = named_tensors(self.call(*tensors))
        return [tensors_by_name[name].numpy() for name in names]

    def _with_constants(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if not self.said.constants:
            return feeds
        sizes = {
            size: got
            for name, array in feeds.items()
            for size, got in zip(self.shapes[name].sizes, array.shape, strict=True)
            if isinstance(size, str)
        }
        return {**feeds, **{name: self.filled(name, sizes) for name in self.said.constants}}

    def filled(self, name: str, sizes: Mapping[str, int]) -> np.ndarray:
        """Return the input ``name``, which never changes, where the free sizes are ``sizes``."""
        import numpy as np

        shape = self.shapes[name]
        whole = [size if isinstance(size, int) else sizes[size] for size in shape.sizes]
        return np.full(whole, self.said.constants[name]).astype(shape.datatype)


def named_tensors(result: Any) -> dict[str, Any]:
    """Return the tensors in the result of a module, at any depth, named by the keys and positions on their path; a
    single tensor is called "output"."""
    import torch
    from torch.utils import _pytree as pytree

    leaves, _ = pytree.tree_flatten_with_path(result)
    tensors: dict[str, Any] = {}
    for path, leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            keys = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", "")))) for key in path]
            name = "_".join(keys)
            tensors[f"output_{name}" if name.replace("_", "").isdigit() else name or "output"] = leaf.detach()
    return tensors


def reason_of(error: BaseException) -> str:
    """Return the line that says what is wrong, of the error that led to the others: PyTorch wraps its own into pages of
    advice, and TorchScript ends with the reason."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return (lines[-1] if "TorchScript interpreter" in lines[0] else lines[0])[:300].rstrip(" .:")


def open_module(path: Path, kind: Format, *, plain: bool) -> TorchModule:
    """Open a file of PyTorch, or a folder with the files of Hugging Face. ``plain`` asks for the way of computing that
    is exported and held to be right, without what is fused. Raises UnsupportedModel, BackendUnavailable, and whatever
    PyTorch raises of a file that it does not read."""
    said = said_in(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind is Format.TORCH_EXPORT:
            module = _open_program(path)
        elif kind is Format.TORCHSCRIPT:
            module = _open_script(path, said.shapes)
        else:
            module = _open_transformer(path, plain=plain)
    return replace(module, said=said)


def _open_program(path: Path) -> TorchModule:
    import torch
    from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument
    from torch.utils import _pytree as pytree

    program = torch.export.load(path)
    user_inputs = [entry.arg for entry in program.graph_signature.input_specs if entry.kind is InputKind.USER_INPUT]
    for argument in user_inputs:
        if not isinstance(argument, TensorArgument | ConstantArgument):
            raise UnsupportedModel(f"its input {argument.name!r} is no tensor", remedy=_WRAP)
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    shapes = _shapes_of(
        {argument.name: values[argument.name] for argument in user_inputs if isinstance(argument, TensorArgument)}
    )
    module, spec = program.module(), program.call_spec.in_spec

    def call(*tensors: Any) -> Any:
        waiting = iter(tensors)
        leaves = [next(waiting) if isinstance(argument, TensorArgument) else argument.value for argument in user_inputs]
        arguments, named = pytree.tree_unflatten(leaves, spec)
        return module(*arguments, **named)

    return TorchModule(shapes, call, program)


def _shapes_of(values: Mapping[str, Any]) -> dict[str, InputShape]:
    """Return the shapes of a program's inputs. Its free sizes have numbered names: the number of rows is called batch,
    and the others after where they are first."""
    names: dict[str, str] = {}
    shapes: dict[str, InputShape] = {}
    for name, value in values.items():
        sizes: list[int | str] = []
        for axis, size in enumerate(value.shape):
            text = str(size)
            if not text.isdigit() and text not in names:
                names[text] = f"{name}.{axis}" if axis else "batch" if "batch" not in names.values() else f"{name}.rows"
            sizes.append(int(text) if text.isdigit() else names[text])
        shapes[name] = InputShape(str(value.dtype).removeprefix("torch."), tuple(sizes))
    return shapes


def _open_script(path: Path, shapes: Mapping[str, InputShape]) -> TorchModule:
    import torch

    module = torch.jit.load(path, map_location="cpu").eval()
    taken = module.forward.schema.arguments[1:]
    for argument in taken:
        if not argument.has_default_value() and str(argument.type) not in ("Tensor", "Optional[Tensor]"):
            kind = str(argument.type)
            raise UnsupportedModel(
                f"its input {argument.name!r} takes {kind:.60}, and requests are tensors", remedy=_WRAP
            )
    names = [argument.name for argument in taken]
    needed = [argument.name for argument in taken if not argument.has_default_value()]
    if not shapes:
        named = needed or names[:1]
        raise UnsupportedModel(
            f"TorchScript does not tell the shapes of its inputs ({', '.join(named)})",
            remedy="give a payload in NPZ, with an array for each of them, or say them, such as "
            f"--input '{named[0] if named else 'NAME'}=float32[rows,3,224,224]', where a name is a size that each "
            "request has for itself",
        )
    if is_by_position(shapes):
        shapes = dict(zip(names, shapes.values(), strict=False)) if len(shapes) <= len(names) else shapes
    first = names[: max(len(shapes), len(needed))]
    if set(shapes) != set(first):
        raise UnsupportedModel(
            f"it takes {', '.join(names)}, and shapes are given for {', '.join(shapes)}",
            remedy="give the shapes of its first inputs, and of all that have no default, by their names",
        )
    return TorchModule({name: shapes[name] for name in first}, module, module)


def _open_transformer(path: Path, *, plain: bool) -> TorchModule:
    os.environ.update(_OFFLINE)
    import transformers

    transformers.utils.logging.set_verbosity_error()
    with _as_folder(path) as folder:
        name = architecture_of(Path(folder, CONFIG))
        if name not in ARCHITECTURES or not hasattr(transformers, name):
            raise UnsupportedModel(f"a Hugging Face model ({name})", remedy="export it to ONNX")
        module = _pretrained(getattr(transformers, name), Path(folder), plain=plain)
    return _encoder(module)


def _as_folder(path: Path) -> AbstractContextManager[str]:
    """Return a folder with the files of a model, which is temporary where they are in an archive."""
    from contextlib import nullcontext

    if path.is_dir():
        return nullcontext(str(path))
    folder = TemporaryDirectory()
    unpack(path, Path(folder.name))
    return folder


def _pretrained(kind: Any, folder: Path, *, plain: bool) -> Any:
    """Return the model in ``folder``, computed in float32. Raises UnsupportedModel if weights are missing: transformers
    would draw them at random."""
    import torch

    options = {
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
        "dtype": torch.float32,
        "output_loading_info": True,
        **({"attn_implementation": "eager"} if plain else {}),
    }
    module, loading = kind.from_pretrained(folder, **options)
    missing = sorted(map(str, loading["missing_keys"]))
    if missing and all(name.startswith("pooler.") for name in missing):
        # Sentence models are trained without a pooling layer.
        module, loading = kind.from_pretrained(folder, add_pooling_layer=False, **options)
        missing = sorted(map(str, loading["missing_keys"]))
    if missing:
        raise UnsupportedModel(f"its weights are not all there: {', '.join(missing[:3])} of {len(missing)} are missing")
    return module.eval()


def _encoder(module: Any) -> TorchModule:
    """Return an encoder that takes what its tokenizer makes, and gives its tensors by name."""
    import inspect

    import torch

    taken = inspect.signature(module.forward).parameters
    segments = getattr(module.config, "type_vocab_size", 0) > 1
    names = tuple(name for name in TEXT_INPUTS if name in taken and (segments or name != "token_type_ids"))

    class Encoder(torch.nn.Module):  # type: ignore[misc] # it is not read: see pyproject.toml
        def __init__(self) -> None:
            super().__init__()
            self.encoder = module

        def forward(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
            arguments = dict(zip(names, tensors, strict=True))
            return named_tensors(dict(self.encoder(**arguments, return_dict=True)))

    encoder = Encoder().eval()
    return TorchModule(dict.fromkeys(names, InputShape("int64", ("batch", "sequence"))), encoder, encoder)
