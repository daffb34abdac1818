"""Two networks that tell handwritten digits apart, and labelled rows for them that no network was trained on.

The digits are those of scikit-learn, each enlarged, turned, moved and with noise on it, anew for every row: so rows are
independent draws, and there are as many as one likes. Networks are trained on one part of the digits; all other rows
are drawn from the rest.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIDE = 24
"""Pixels of a drawn digit, of which scikit-learn's have 8."""

TRAINED, GIVEN, HELD = 6000, 4000, 10000
"""Rows to train on, rows that those who look for an artifact are given, and rows to judge what they found."""

_TRAINING_DIGITS = 1000
_NOISE = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Images, (rows, SIDE, SIDE), and what each of them is, (rows,)."""

    images: np.ndarray
    labels: np.ndarray


def drawn(generator: np.random.Generator, rows: int, *, training: bool) -> Labelled:
    """Draw digits from those to train on, or from all others."""
    from scipy.ndimage import affine_transform
    from sklearn.datasets import load_digits

    digits = load_digits()
    part = slice(_TRAINING_DIGITS) if training else slice(_TRAINING_DIGITS, None)
    small, labels = digits.images[part] / 16, digits.target[part]
    chosen = generator.integers(0, len(small), rows)
    angles, scales = generator.uniform(-0.3, 0.3, rows), 8 / SIDE * generator.uniform(0.8, 1.25, rows)
    moved = generator.uniform(-1, 1, (rows, 2))
    images = np.empty((rows, SIDE, SIDE), dtype=np.float32)
    for image, which, angle, scale, move in zip(images, chosen, angles, scales, moved, strict=True):
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        begin = 3.5 + move - turn @ np.full(2, (SIDE - 1) / 2)
        affine_transform(small[which], turn, begin, output=image, order=1)
    images += _NOISE * generator.standard_normal(images.shape, dtype=np.float32)
    return Labelled(images=images, labels=labels[chosen])


def perceptron(trained: Labelled, path: Path) -> None:
    """Train a multi-layer perceptron of scikit-learn, and write it as ONNX. Runs in a child process."""
    from onnx import TensorProto, helper, numpy_helper
    from sklearn.neural_network import MLPClassifier

    rows = trained.images.reshape(len(trained.images), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is not trained to its end
        fitted = MLPClassifier((1024, 1024), max_iter=8, random_state=0).fit(rows, trained.labels)
    nodes, constants, value = [], [], "x"
    for nth, (weights, bias) in enumerate(zip(fitted.coefs_, fitted.intercepts_, strict=True)):
        for name, array in ((f"weights{nth}", weights), (f"bias{nth}", bias)):
            constants.append(numpy_helper.from_array(array.astype(np.float32), name))
        nodes.append(helper.make_node("Gemm", [value, f"weights{nth}", f"bias{nth}"], [f"sum{nth}"]))
        value = f"sum{nth}"
        if nth < len(fitted.coefs_) - 1:
            nodes.append(helper.make_node("Relu", [value], [f"layer{nth}"]))
            value = f"layer{nth}"
    told = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", rows.shape[1]])]
    outputs = [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["n", 10])]
    graph = helper.make_graph(nodes, "digits", told, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def convolutions(trained: Labelled, path: Path) -> None:
    """Train a convolutional network of PyTorch, and write it as ONNX. Runs in a child process."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    module = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(128 * (SIDE // 4) ** 2, 10)),
    )
    images, labels = torch.from_numpy(trained.images[:, None]), torch.from_numpy(trained.labels)
    steps = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(4):
        for part in torch.randperm(len(images)).split(64):
            steps.zero_grad()
            nn.functional.cross_entropy(module(images[part]), labels[part]).backward()
            steps.step()
    shapes = ({0: torch.export.Dim("n")},)
    torch.onnx.export(
        module.eval(), (images[:2],), path, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False
    )
