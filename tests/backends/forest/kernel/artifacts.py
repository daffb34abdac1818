"""Small models whose artifacts between them have everything that an artifact can have: for the tests of this folder and
for scripts/check_kernel (``python artifacts.py models FOLDER``, with rows for each); scripts/fuzz_artifacts starts from
smaller ones (``seeds``).
"""

from __future__ import annotations

import pickle
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.engines.forest import ForestBackend
from servefit.backends.forest.file_format import HEADER, SECTIONS
from servefit.backends.forest.walks import NARROW, WIDE
from servefit.backends.model import Model
from servefit.backends.types import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FEATURES = 6
CATEGORICAL = (1, 4)


def training_rows(count: int, features: int = FEATURES) -> np.ndarray:
    rows = np.random.default_rng(0).standard_normal((count, features)).astype(np.float32)
    rows[:, CATEGORICAL] = np.abs(rows[:, CATEGORICAL] * (5, 20)).astype(int)
    rows[::11, 2] = np.nan
    return rows


def odd_rows(count: int, artifact: Path) -> np.ndarray:
    """Rows such as the models were trained on, with values among them that none of them knows."""
    header = header_of(artifact)
    features = int(header["features"])
    generator = np.random.default_rng(1)
    rows = np.resize(training_rows(max(count, 64)), (count, features)) + np.float32(0)
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, -0.5, 1e9, 3.4e38, 1e-45, 300.0, -7.0], np.float32)
    at = generator.random(rows.shape) < 0.1
    rows[at] = generator.choice(odd, int(at.sum()))
    if header["wide_values"]:
        # Decimals, which float32 does not hold, and what is just beside a float32.
        rows = np.where(generator.random(rows.shape) < 0.3, np.round(rows, 1), np.nextafter(rows.astype(float), np.inf))
    return np.ascontiguousarray(rows, rows_datatype(artifact))


def _xgboost(file: Path, *, rows: int = 400, features: int = FEATURES, trees: int, depth: int = 4) -> None:
    import xgboost

    train = training_rows(rows, features)
    noise = np.random.default_rng(2).standard_normal(rows)
    target = np.nan_to_num(train[:, 2]) - 0.3 * train[:, 1] + noise
    parameters = {"max_depth": depth, "nthread": 1, "verbosity": 0, "min_child_weight": 0, "reg_lambda": 0}
    sampled = {"colsample_bynode": 0.3, "base_score": 0.0}
    xgboost.train(parameters | sampled, xgboost.DMatrix(train, target), trees).save_model(file)


def _lightgbm(file: Path, *, trees: int = 40) -> None:
    import lightgbm

    train = training_rows(400)
    rows = lightgbm.Dataset(train, train[:, 1] * 7 % 5 + train[:, 4] % 3 > 3, categorical_feature=list(CATEGORICAL))
    sizes = {"num_leaves": 12, "min_data_in_leaf": 2, "min_data_per_group": 2, "max_cat_to_onehot": 2, "cat_smooth": 1}
    common = {"objective": "binary", "num_threads": 1, "verbosity": -1}
    lightgbm.train(common | sizes, rows, trees).save_model(file)


def _sklearn(file: Path, *, rows: int = 200, trees: int) -> None:
    from sklearn.ensemble import RandomForestClassifier

    train = np.nan_to_num(training_rows(rows))
    labels = (train[:, 1] + 3 * train[:, 0] ** 2).astype(int) % 5
    file.write_bytes(pickle.dumps(RandomForestClassifier(trees, random_state=0).fit(train, labels)))


def _bins(file: Path, *, rows: int = 400, trees: int) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    train = training_rows(rows).astype(np.float64).round(1)
    target = np.nan_to_num(train[:, 2]) * train[:, 0]
    sizes = {"max_leaf_nodes": 60, "min_samples_leaf": 1, "early_stopping": False}
    file.write_bytes(pickle.dumps(HistGradientBoostingRegressor(max_iter=trees, **sizes).fit(train, target)))


# Large enough for the kernel to find work for several threads in a batch of 65 rows.
MODELS: Mapping[str, Callable[[Path], None]] = {
    "heaps.ubj": lambda file: _xgboost(file, trees=1200),
    "wide_heaps.ubj": lambda file: _xgboost(file, features=400, trees=50, depth=6),
    "categories.txt": _lightgbm,
    "classes.pkl": lambda file: _sklearn(file, trees=120),
    "walks.ubj": lambda file: _xgboost(file, trees=60, depth=14),
    "float64.pkl": lambda file: _bins(file, trees=60),
}
SEEDS: Mapping[str, Callable[[Path], None]] = {
    "heaps.ubj": lambda file: _xgboost(file, rows=60, trees=3),
    "wide_heaps.ubj": lambda file: _xgboost(file, rows=100, features=400, trees=50, depth=6),
    "categories.txt": lambda file: _lightgbm(file, trees=4),
    "classes.pkl": lambda file: _sklearn(file, rows=50, trees=2),
    "walks.ubj": lambda file: _xgboost(file, rows=120, trees=3, depth=14),
    "float64.pkl": lambda file: _bins(file, rows=100, trees=3),
}
"""The same, as small as they get: a byte of theirs that is changed matters more often."""


def write_artifact(name: str, train: Callable[[Path], None], folder: Path) -> Path:
    """Train the model in ``folder`` and write its artifact, whose name is that of the model, beside it."""
    train(folder / name)
    ForestBackend().compile(Model.load(folder / name, trust_pickle=True), Target.CPU, folder)
    return (folder / "model.forest").rename((folder / name).with_suffix(".forest"))


def write_widened(artifact: Path, file: Path) -> None:
    """The same forest with nodes of the wider kind, which the backend writes only for large ones."""
    content = artifact.read_bytes()
    header = np.frombuffer(content[: HEADER.itemsize], HEADER)[0].copy()
    places = zip(SECTIONS, header["sections"], strict=True)
    sections = {name: (int(place["begin"]), int(place["count"])) for name, place in places}
    begin, count = sections["nodes"]
    narrow = np.frombuffer(content, NARROW, count, begin)
    wide = np.zeros(count, WIDE)
    wide["bound"], wide["step"] = narrow["bound"], narrow["step"]
    wide["column"] = narrow["column"] & 0x7FFF | (narrow["column"] & 0x8000).astype(np.uint32) << 16
    end = -(-len(content) // 64) * 64
    header["sections"]["begin"][SECTIONS.index("nodes")] = end
    header["wide_nodes"], header["size"] = 1, end + wide.nbytes
    whole = bytearray(header.tobytes() + content[HEADER.itemsize :].ljust(end - HEADER.itemsize, b"\0"))
    whole += wide.tobytes()
    whole[12:16] = zlib.crc32(memoryview(whole)[16:]).to_bytes(4, "little")
    file.write_bytes(whole)


def header_of(artifact: Path) -> np.void:
    header: np.void = np.frombuffer(artifact.read_bytes()[: HEADER.itemsize], HEADER)[0]
    return header


def rows_datatype(artifact: Path) -> str:
    return "float64" if header_of(artifact)["wide_values"] else "float32"


def write_all(models: Mapping[str, Callable[[Path], None]], folder: Path) -> list[Path]:
    """Artifacts of all ``models``, and of two of them widened."""
    artifacts = [write_artifact(name, train, folder) for name, train in models.items()]
    for name in ("walks", "categories"):
        write_widened(folder / f"{name}.forest", folder / f"wide_{name}.forest")
        artifacts.append(folder / f"wide_{name}.forest")
    return artifacts


if __name__ == "__main__":
    for artifact in write_all({"seeds": SEEDS, "models": MODELS}[sys.argv[1]], Path(sys.argv[2])):
        artifact.with_suffix(".rows").write_bytes(odd_rows(230, artifact).tobytes())
