"""Small modules of PyTorch, and their files as PyTorch writes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

WORDS, WIDTH = 50, 16
DYNAMIC = torch.export.Dim.DYNAMIC


class Encoder(nn.Module):  # type: ignore[misc] # PyTorch is not read: see pyproject.toml
    """Attention over texts of any length, of which a mask tells what counts; gives a mapping of two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.queries, self.keys = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        words = self.embedding(input_ids) * attention_mask.unsqueeze(-1)
        scores = self.queries(words) @ self.keys(words).transpose(1, 2)
        hidden = words + scores.softmax(-1) @ words
        return {"logits": self.head(hidden.mean(1)), "hidden": hidden}


class Masked(nn.Module):  # type: ignore[misc] # PyTorch is not read: see pyproject.toml
    """A layer of PyTorch's own, whose export gives no number where the mask leaves nothing to attend to."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 24, batch_first=True)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.layer(self.embedding(input_ids), src_key_padding_mask=attention_mask == 0)
        return hidden


class Recurrent(nn.Module):  # type: ignore[misc] # PyTorch is not read: see pyproject.toml
    """Sums of what came before, and a number that may be left out."""

    def forward(self, x: torch.Tensor, times: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
        return x.cumsum(1) * times, x.sum(1)


def mlp() -> Any:
    return _drawn(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)))


def cnn() -> Any:
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return _drawn(nn.Sequential(*layers, nn.Linear(8, 4)))


def encoder() -> Any:
    return _drawn(Encoder())


EXAMPLES: Mapping[str, tuple[Any, tuple[torch.Tensor, ...], tuple[dict[int, Any], ...]]] = {
    "mlp": (mlp, (torch.zeros(2, 6),), ({0: DYNAMIC},)),
    "cnn": (cnn, (torch.zeros(2, 3, 8, 8),), ({0: DYNAMIC},)),
    "encoder": (
        encoder,
        (torch.zeros(2, 7, dtype=torch.int64), torch.ones(2, 7)),
        ({0: DYNAMIC, 1: DYNAMIC}, {0: DYNAMIC, 1: DYNAMIC}),
    ),
}
"""Each module, what it is called with, and which of its sizes are free."""


def save_program(path: Path, module: Any, example: tuple[torch.Tensor, ...], free: Any = None) -> Path:
    """Write what torch.export makes of ``module``."""
    with quiet():
        torch.export.save(torch.export.export(module, example, dynamic_shapes=free), path)
    return path


def save_script(path: Path, module: Any, *example: torch.Tensor) -> Path:
    """Write ``module`` as TorchScript: traced with an example, or scripted where there is none."""
    with quiet():
        script = torch.jit.trace(module, example, strict=False) if example else torch.jit.script(module)
        script.save(str(path))
    return path


@contextmanager
def quiet() -> Iterator[None]:
    """PyTorch warns of parts of its own that are to go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def feeds(name: str, rows: int, length: int = 5) -> dict[str, np.ndarray]:
    """Draw inputs of one of the EXAMPLES."""
    generator = np.random.default_rng(rows)
    if name == "encoder":
        mask = (generator.random((rows, length)) < 0.8).astype(np.float32)
        return {"input_ids": generator.integers(0, WORDS, (rows, length)), "attention_mask": mask}
    shape = (rows, 6) if name == "mlp" else (rows, 3, 8, 8)
    return {"input": generator.standard_normal(shape).astype(np.float32)}


def _drawn(module: Any) -> Any:
    """Return ``module`` with weights that are the same in every run."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for values in module.parameters():
            values.copy_(torch.randn(values.shape, generator=generator) * 0.3)
    return module.eval()
