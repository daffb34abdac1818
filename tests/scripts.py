"""Archives as SageMaker Inference Recommender's examples have them, made by hand: a model, and a script for it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

JPEG = b"\xff\xd8\xff\xe0"
"""The first bytes of a JPEG file. These scripts read no more of one."""

MEANS = """
import json
import os
import numpy as np

def model_fn(model_dir):
    with open(os.path.join(model_dir, "offset.txt")) as file:
        return float(file.read())

def input_fn(body, content_type):
    if content_type != "image/jpeg":
        raise ValueError(f"no {content_type} here")
    return np.frombuffer(body, np.uint8)

def predict_fn(data, model):
    return float(data.mean()) + model

def output_fn(prediction, accept):
    return json.dumps({"mean": prediction}), "application/json"
"""
"""A stand-in for a network that looks at JPEG files: it tells the mean of their bytes."""

WORDS = """
import json

def model_fn(model_dir, context):
    return context.system_properties["model_dir"]

def transform_fn(model, body, content_type, accept):
    text = body if isinstance(body, str) else body.decode()
    return json.dumps([len(word) for word in text.split()])
"""
"""A stand-in for a network that reads text: it tells the lengths of the words."""

SKLEARN = """
import os
import joblib

def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))
"""
"""A script that leaves all but loading to the defaults."""

XGBOOST = """
import os
import numpy as np
import xgboost

def model_fn(model_dir):
    return xgboost.Booster(model_file=os.path.join(model_dir, "xgboost-model"))

def predict_fn(data, model):
    return model.predict(xgboost.DMatrix(np.atleast_2d(data)))
"""
"""A script that serves what the container of XGBoost serves without one."""

ECHO = (
    "def model_fn(model_dir):\n    return None\ndef transform_fn(model, body, content_type, accept):\n    return body\n"
)


def archive(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a .tar.gz of ``files``, by name."""
    with tarfile.open(path, "w:gz") as written:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            written.addfile(member, io.BytesIO(data))
    return path


def scripted(path: Path, script: str, **files: str | bytes) -> Path:
    """Write an archive with this script, and files whose names have "__" in place of a dot."""
    beside = {name.replace("__", "."): content for name, content in files.items()}
    return archive(path, {"code/inference.py": script, **beside})


def photos(folder: Path, count: int = 6) -> Path:
    """Make a folder of files that begin as JPEGs do, of different lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    for nth in range(count):
        (folder / f"{nth}.jpg").write_bytes(JPEG + bytes([nth]) * (100 * nth + 10))
    return folder
