"""What it costs or gains to pad requests of different lengths into one call of a network, in place of a call for each
length.

    python -m benchmarks.claims.padding [--turns 24] [--model MODEL.onnx --pad MASK] [--only WORD]

Encoders of several sizes with their mask, and networks of frames with zeros, or MODEL with its input MASK, are called
on one thread with batches of requests, in turns of A B B A: A pads, B does not. They are as long as sentences are (a
lognormal distribution with a median of 38 places, from 4 to 256), or all about as long (32 to 40). WORD leaves out the
networks without it in their name. Prints one JSON object: how many times less CPU time a padded batch takes, as the
ratio of the sums over all batches, with a 95 % interval by drawing turns anew, how much of the padded batches is
padding, and the largest difference of predictions.

It takes about four minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

import servefit as sf
from benchmarks.models.encoders import VOCABULARY, encoder
from benchmarks.models.frames import NETWORKS
from benchmarks.synthetic import machine
from servefit.backends.compilation import load_predictor
from servefit.backends.model.packing import join
from servefit.backends.payload.tensors import rows_of_arrays
from servefit.backends.types import Settings
from servefit.profiler.machine.host import describe_host

ENCODERS = {
    "1 layer of 32": (1, 32),
    "2 layers of 128": (2, 128),
    "6 layers of 384, as MiniLM-L6": (6, 384),
}
BATCHES = (2, 8, 16)
MASK, ZEROS = "attention_mask", "zeros"


def lengths_of(kind: str, generator: np.random.Generator, count: int) -> np.ndarray:
    """Return the places of ``count`` requests."""
    if kind == "about as long":
        return generator.integers(32, 40, count, endpoint=True)
    return np.clip(np.rint(np.exp(generator.normal(np.log(38), 0.75, count))), 4, 256).astype(int)


def request(signature: Any, mask: str, length: int, generator: np.random.Generator) -> np.ndarray:
    """Return a text or a sequence of frames that has so many places, packed."""
    arrays: dict[str, np.ndarray] = {}
    for each in signature.inputs:
        shape = (1, *(length if isinstance(size, str) else size for size in each.shape))
        if each.name == mask:
            arrays[each.name] = np.ones(shape, np.int64)
        elif each.is_whole:
            arrays[each.name] = generator.integers(0, each.whole_range[1] if "type" in each.name else VOCABULARY, shape)
        else:
            arrays[each.name] = generator.standard_normal(shape).astype(np.float32)
    return rows_of_arrays(arrays, signature, "benchmark")


def compared(padded: Any, plain: Any, batches: list[np.ndarray]) -> dict[str, Any]:
    """Return how the calls of two predictors compare on the same batches, each called in turns."""
    took: list[list[float]] = [[], []]
    apart = 0.0
    for rows in batches:
        apart = max(apart, float(np.abs(padded.predict(rows) - plain.predict(rows)).max()))
        turn = [0.0, 0.0]
        for which in (0, 1, 1, 0):
            begin = process_time()
            (padded, plain)[which].predict(rows)
            turn[which] += process_time() - begin
        for which, seconds in enumerate(turn):
            took[which].append(seconds / 2)
    of_padded, of_plain = map(np.array, took)
    drawn = np.random.default_rng(0).integers(0, len(batches), (2000, len(batches)))
    ratios = of_plain[drawn].sum(axis=1) / of_padded[drawn].sum(axis=1)
    return {
        "times less": round(float(of_plain.sum() / of_padded.sum()), 2),
        "95 %": [round(float(each), 2) for each in np.percentile(ratios, [2.5, 97.5])],
        "a padded batch, CPU ms": round(float(np.median(of_padded)) * 1e3, 3),
        "largest difference": apart,
    }


def measured(path: Path, mask: str, turns: int) -> dict[str, Any]:
    """Return what padding does to calls of the network at ``path``."""
    model = sf.Model.load(path, pad=mask)
    padded, plain = (
        load_predictor(sf.compile_model(each, "onnxruntime").artifact, Settings(threads=1))
        for each in (model, sf.Model.load(path))
    )
    found: dict[str, Any] = {}
    for kind in ("as long as sentences", "about as long"):
        for size in BATCHES:
            generator = np.random.default_rng(size)
            batches, share = [], []
            for _ in range(turns):
                lengths = lengths_of(kind, generator, size)
                batches.append(join([request(model.signature, mask, int(each), generator) for each in lengths]))
                share.append(1 - lengths.mean() / lengths.max())
            together = compared(padded, plain, batches)
            found[f"{kind}, batches of {size}"] = {**together, "padding": round(float(np.mean(share)), 2)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--pad", default=MASK)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    document: dict[str, Any] = {"machine": machine(describe_host()), "networks": {}}
    with tempfile.TemporaryDirectory() as folder:
        if asked.model is not None:
            document["networks"][asked.model.name] = measured(asked.model, asked.pad, asked.turns)
        else:
            for name, (layers, width) in ENCODERS.items():
                if asked.only in name:
                    path = encoder(Path(folder, "encoder.onnx"), layers=layers, width=width)
                    document["networks"][name] = measured(path, MASK, asked.turns)
            for name, make in NETWORKS.items():
                if asked.only in name:
                    document["networks"][name] = measured(make(Path(folder, "frames.onnx")), ZEROS, asked.turns)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
