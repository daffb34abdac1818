"""Modules of PyTorch served by PyTorch itself, as they are: the reference for them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.backends.libraries.installed import installed, thread_counts
from servefit.backends.libraries.torch_predictor import TorchPredictor, interface_of_converted
from servefit.backends.model.types import Format, Library
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from servefit.backends.model import Model

_INSTALL = "pip install 'servefit[torch]'"


class TorchBackend:
    """Serves modules of PyTorch, and encoders of Hugging Face, on the CPU, without compiling them."""

    name = "torch"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("servefit runs PyTorch on the CPU only")
        return installed("torch", remedy=_INSTALL)

    def supports(self, model: Model) -> Availability:
        if model.library is Library.TORCH:
            return Availability.yes()
        return Availability.no(f"it serves modules of PyTorch, and this is one of {model.library}")

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        return 1.0 + model.size_bytes / 1e9

    def cache_key(self) -> str:
        return "torch_io 2, onnx_io 5"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        if model.converted is None:
            raise CompileFailed(self.name, "it was opened by a servefit that did not know what goes into it")
        if model.format is Format.HUGGINGFACE:
            from servefit.backends.model.transformers_folder import unpack

            unpack(model.file, workdir)
        else:
            shutil.copyfile(model.file, workdir / f"model{model.file.suffix}")
        return {"format": model.format.value, "interface": interface_of_converted(model.converted).to_facts()}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        import torch

        from servefit.backends.model.torch_io import open_module

        torch.set_num_threads(settings.threads)
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)
        kind = Format(artifact.facts["format"])
        file = artifact.folder if kind is Format.HUGGINGFACE else next(artifact.folder.glob("model.pt*"))
        # It was trusted when the model was opened, and only what was opened becomes an artifact.
        module = open_module(file, kind, plain=False)
        return TorchPredictor(module, artifact.facts["interface"])
