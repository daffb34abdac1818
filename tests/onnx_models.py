"""ONNX models made by hand, with what the ones that people train have: several inputs, whole numbers, quantisation."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FLOAT, UINT8, INT8, INT64, STRING, BOOL, DOUBLE = 1, 2, 3, 7, 8, 9, 11

TOKENS, VOCABULARY, HIDDEN = 4, 50, 8
"""Of ``encoder``: how long its sentences are, how many words it knows, how wide an embedding is."""


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any) -> Any:
    import onnx

    return onnx.helper.make_node(operator, inputs, outputs, domain=domain, **attributes)


def save(
    path: Path,
    inputs: Mapping[str, tuple[int, Sequence[Any]]],
    nodes: Sequence[Any],
    outputs: Mapping[str, int],
    constants: Mapping[str, Any] | None = None,
    *,
    onnx_ml: int = 3,
    **more: Any,
) -> Path:
    """Write a model: inputs by name with type and shape, outputs by name with type, constants by name. ``onnx_ml``
    is the version of the operators for tables. What else is given goes to ``make_model``."""
    import onnx

    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", onnx_ml)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)
    path.write_bytes(model.SerializeToString())
    return path


def answers(path: Path, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """What ONNX Runtime itself says, asked directly."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    answered: np.ndarray = session.run(None, dict(feeds))[0]
    return answered


def encoder(path: Path) -> Path:
    """A model of sentences: three int64 inputs (n, TOKENS), an embedding of unit length (n, HIDDEN). What the mask
    leaves out gets a score of -10,000."""
    generator = np.random.default_rng(0)
    constants = {
        "words": generator.standard_normal((VOCABULARY, HIDDEN)).astype(np.float32),
        "types": generator.standard_normal((2, HIDDEN)).astype(np.float32),
        "query": generator.standard_normal((HIDDEN, 1)).astype(np.float32),
        "one": np.float32(1),
        "penalty": np.float32(-1e4),
        "last": np.array([2]),
        "tokens": np.array([1]),
    }
    nodes = [
        node("Gather", ["words", "input_ids"], ["of_words"]),
        node("Gather", ["types", "token_type_ids"], ["of_types"]),
        node("Add", ["of_words", "of_types"], ["hidden"]),
        node("MatMul", ["hidden", "query"], ["column_of_scores"]),
        node("Squeeze", ["column_of_scores", "last"], ["scores"]),
        node("Cast", ["attention_mask"], ["attended"], to=FLOAT),
        node("Sub", ["one", "attended"], ["ignored"]),
        node("Mul", ["ignored", "penalty"], ["penalties"]),
        node("Add", ["scores", "penalties"], ["masked"]),
        node("Softmax", ["masked"], ["weights"], axis=1),
        node("Unsqueeze", ["weights", "last"], ["column_of_weights"]),
        node("Mul", ["hidden", "column_of_weights"], ["weighted"]),
        node("ReduceSum", ["weighted", "tokens"], ["pooled"], keepdims=0),
        node("LpNormalization", ["pooled"], ["embedding"], axis=1, p=2),
    ]
    names = ("input_ids", "attention_mask", "token_type_ids")
    return save(path, {name: (INT64, ["n", TOKENS]) for name in names}, nodes, {"embedding": FLOAT}, constants)


def sentences(count: int = 6) -> dict[str, np.ndarray]:
    """What ``encoder`` is asked, in the order in which tokenizers say it, which is not the model's."""
    generator = np.random.default_rng(1)
    lengths = generator.integers(1, TOKENS, (count, 1), endpoint=True)
    return {
        "input_ids": generator.integers(0, VOCABULARY, (count, TOKENS)),
        "token_type_ids": generator.integers(0, 2, (count, TOKENS)),
        "attention_mask": (np.arange(TOKENS) < lengths).astype(np.int64),
    }


def perceptron(path: Path, *sizes: int) -> Path:
    """A multi-layer perceptron with these widths, from the first to the last."""
    generator = np.random.default_rng(0)
    nodes, constants = [], {}
    for nth, (wide, narrow) in enumerate(itertools.pairwise(sizes)):
        constants[f"w{nth}"] = (generator.standard_normal((wide, narrow)) / wide**0.5).astype(np.float32)
        nodes += [
            node("MatMul", [f"x{nth}", f"w{nth}"], [f"sum{nth}"]),
            node("Relu", [f"sum{nth}"], [f"x{nth + 1}"]),
        ]
    return save(path, {"x0": (FLOAT, ["n", sizes[0]])}, nodes, {f"x{len(sizes) - 1}": FLOAT}, constants)


def hashed(path: Path) -> Path:
    """The mean of four ids modulo 97, (n,)."""
    nodes = [
        node("Mod", ["ids", "buckets"], ["chosen"]),
        node("Cast", ["chosen"], ["numbers"], to=FLOAT),
        node("ReduceMean", ["numbers"], ["mean"], axes=[1], keepdims=0),
    ]
    return save(path, {"ids": (INT64, ["n", 4])}, nodes, {"mean": FLOAT}, {"buckets": np.int64(97)})


FRAMES, CLASSES = 5, 7
"""Of ``frames_first``."""


def frames_first(path: Path, *, batch: int | str = "n", frames: int | str = FRAMES) -> Path:
    """A model with its rows in the second dimension of what it gives, as those of speech and of lines of text have
    them: (n, frames, 4) goes in, (frames, n, CLASSES) comes out."""
    weights = np.random.default_rng(0).standard_normal((4, CLASSES)).astype(np.float32)
    nodes = [node("Transpose", ["x"], ["by_frame"], perm=[1, 0, 2]), node("MatMul", ["by_frame", "weights"], ["y"])]
    return save(path, {"x": (FLOAT, [batch, frames, 4])}, nodes, {"y": FLOAT}, {"weights": weights})


LARGE_IDS = [16777217, 16777219, 1073741825, 7]
"""Three of them are no float32. Their mean modulo 97 is 10.75."""


def quantised(path: Path, features: int = 6, outputs: int = 3) -> Path:
    """A layer as dynamic quantisation leaves it: the scale of its input is that of the whole call."""
    weights = np.random.default_rng(2).integers(-100, 100, (features, outputs)).astype(np.int8)
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["small", "scale", "zero"]),
        node("MatMulInteger", ["small", "weights", "zero"], ["sums"]),
        node("Cast", ["sums"], ["floats"], to=FLOAT),
        node("Mul", ["floats", "scale"], ["y"]),
    ]
    return save(path, {"x": (FLOAT, ["n", features])}, nodes, {"y": FLOAT}, {"weights": weights})


def texts(path: Path, *, states: bool = True) -> Path:
    """A model of texts of any length: int64 inputs (n, tokens) by the names of ``TEXT_INPUTS``, the mean of the words
    that the mask names (n, HIDDEN), and before it, with ``states``, every word's (n, tokens, HIDDEN)."""
    import onnx

    constants: dict[str, Any] = {
        "words": np.random.default_rng(0).standard_normal((VOCABULARY, HIDDEN)).astype(np.float32),
        "last": np.array([2]),
        "tokens_axis": np.array([1]),
        "little": np.float32(1e-3),
    }
    nodes = [
        node("Gather", ["words", "input_ids"], ["of_words"]),
        node("Cast", ["attention_mask"], ["mask"], to=FLOAT),
        node("Unsqueeze", ["mask", "last"], ["column"]),
        node("Mul", ["of_words", "column"], ["states"]),
        node("ReduceSum", ["states", "tokens_axis"], ["sum"], keepdims=0),
        node("ReduceSum", ["column", "tokens_axis"], ["count"], keepdims=0),
        node("Add", ["count", "little"], ["divisor"]),
        node("Div", ["sum", "divisor"], ["embedding"]),
    ]
    outputs: dict[str, list[Any]] = {"states": ["n", "tokens", HIDDEN], "embedding": ["n", HIDDEN]}
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info(name, INT64, ["n", "tokens"]) for name in TEXT_INPUTS],
        [
            onnx.helper.make_tensor_value_info(name, FLOAT, shape)
            for name, shape in outputs.items()
            if states or name != "states"
        ],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


TEXT_INPUTS = ("input_ids", "attention_mask")


def text(length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """One text of so many words, as ``texts`` takes it: (1, length)."""
    ids = np.random.default_rng(seed).integers(0, VOCABULARY, (1, length))
    return {"input_ids": ids, "attention_mask": np.ones((1, length), dtype=np.int64)}


def of_all_outputs(path: Path, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime itself says, asked directly, by the names of the outputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))
