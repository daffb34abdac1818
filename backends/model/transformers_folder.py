"""Encoders in folders as Hugging Face's Transformers saves them: a config.json, and weights in safetensors beside it.

Such a folder becomes one file, a ZIP archive of both, whose SHA-256 is the model's digest. Nothing in it is executed:
only architectures of a list are taken, whose code is that of the installed transformers. The tokenizer stays with who
sends the requests.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servefit.backends.model.keeping import ModelFile, file_digest, read_once
from servefit.backends.model.safetensors import check_whole
from servefit.backends.model.torch_archive import SAID
from servefit.backends.model.types import Format
from servefit.errors import CorruptModel, OutOfMemory, TimedOut, UnsupportedModel, WorkerCrashed
from servefit.isolation import call_isolated
from servefit.state import writing

FAMILIES = (
    *("Albert", "Bert", "Camembert", "DebertaV2", "DistilBert"),
    *("Electra", "ModernBert", "MPNet", "Roberta", "XLMRoberta"),
)
HEADS = ("Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
ARCHITECTURES = frozenset(f"{family}{head}" for family in FAMILIES for head in HEADS)
"""Those whose ONNX models were seen to predict what transformers does, at several lengths and with masks."""

CONFIG, ROOT = "config.json", "huggingface"
"""The file that describes a model, and the folder of an archive that holds all of them."""

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_WEIGHTS_OF_OTHERS = re.compile(
    r"(pytorch_model|tf_model|flax_model|rust_model|training_args|optimizer|scheduler|rng_state)\b.*\.\w+"
    r"|model(-\d+-of-\d+)?\.safetensors"
)
_SHARD = re.compile(r"[A-Za-z0-9][\w.-]{0,120}\.safetensors", re.ASCII)
_MAX_CONFIG_BYTES = 2**20
"""Such files have kilobytes; a longer one is another file of that name."""

_MAX_INDEX_BYTES = 2**24
_MAX_BYTES = 2**31 - 2**26
"""Of weights, since what is served is an ONNX file, which holds 2 GiB at most with the rest."""

_MEMORY_BYTES = 2**30
_TIMEOUT_S, _BYTES_PER_S = 60.0, 16 * 2**20
"""Chosen, not measured: disks and network folders are faster."""

_NO_DATE = (1980, 1, 1, 0, 0, 0)
"""The same model makes the same file whenever it is read."""


def architecture_of(file: Path) -> str | None:
    """Return the name of the architecture that a config.json names, or of the kind of model; None where ``file`` is
    another JSON file. Raises OSError."""
    with file.open("rb") as stream:
        content = stream.read(_MAX_CONFIG_BYTES)
    try:
        config: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    architectures = config.get("architectures")
    name = architectures[0] if isinstance(architectures, list) and architectures else config.get("model_type")
    return name[:60] if isinstance(name, str) else None


def has_weights(folder: Path) -> bool:
    """Return whether ``folder`` holds weights of any format."""
    return any(_WEIGHTS_OF_OTHERS.fullmatch(file.name) for file in folder.iterdir())


def without_weights(files: Sequence[Path]) -> list[Path]:
    """Return ``files`` without those that belong to a config.json beside them, and without each config.json that has no
    weights beside it, as that of an ONNX model."""
    configs = {file.parent: file for file in files if file.name == CONFIG and architecture_of(file)}
    with_weights = {folder for folder in configs if has_weights(folder)}

    def counts(file: Path) -> bool:
        if file == configs.get(file.parent):
            return file.parent in with_weights
        return file.parent not in with_weights or _WEIGHTS_OF_OTHERS.fullmatch(file.name) is None

    return list(filter(counts, files))


def in_one_archive(model: ModelFile, beside: Path, folder: Path) -> ModelFile:
    """Return the ``model`` of a config.json, whose weights are in the folder ``beside``, as one archive in the empty
    ``folder``. An archive is returned unchanged.

    Raises CorruptModel if weights are missing or damaged, UnsupportedModel if they are no safetensors or too large,
    and StateError.
    """
    with model.file.open("rb") as stream:
        if stream.read(2) == b"PK":
            return model
    size = sum(file.stat().st_size for file in beside.iterdir() if file.is_file())
    timeout_s = _TIMEOUT_S + min(size, _MAX_BYTES) / _BYTES_PER_S
    with writing(folder):
        folder.mkdir()
    target = folder / "model.zip"
    try:
        call_isolated(f"{__name__}:pack", model.file, beside, target, timeout_s=timeout_s, memory_bytes=_MEMORY_BYTES)
    except OutOfMemory as error:
        raise CorruptModel(model.file, "there is not enough memory to read its weights") from error
    except TimedOut as error:
        raise error.called(f"reading the weights of {model.file}") from error
    except WorkerCrashed as error:
        raise CorruptModel(model.file, f"reading its weights, Python {error.reason}") from error
    return ModelFile(file=target, digest=file_digest(target), format=Format.HUGGINGFACE)


def pack(config: Path, beside: Path, target: Path) -> None:
    """Write the archive ``target``: the part of ``in_one_archive`` that runs in the child process."""
    copy, total = target.with_name("copy"), 0
    with writing(target), zipfile.ZipFile(target, "w") as archive:
        _add(archive, config, CONFIG)
        for name in _weights(config, beside):
            read_once(beside / name, copy)
            if name != _INDEX:
                _check_weights(copy, name, config)
            total += copy.stat().st_size
            if total > _MAX_BYTES:
                raise UnsupportedModel(f"{config} has weights of more than 2 GiB, and an ONNX file holds no more")
            _add(archive, copy, name)
            copy.unlink()


def _check_weights(copy: Path, name: str, config: Path) -> None:
    try:
        check_whole(copy)
    except CorruptModel as error:
        raise CorruptModel(config, f"{name} beside it is not whole: {error.reason}", remedy=error.remedy) from error


def unpack(archive: Path, folder: Path) -> None:
    """Write the files of an archive that ``in_one_archive`` made into the empty ``folder``, and what was said of the
    model's inputs."""
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            root, _, plain = name.partition("/")
            plain = SAID if plain == f"extra/{SAID}" else plain
            if root == ROOT and (plain in (CONFIG, _INDEX, SAID) or _SHARD.fullmatch(plain)):
                with opened.open(name) as source, (folder / plain).open("wb") as target:
                    shutil.copyfileobj(source, target)


def _add(archive: zipfile.ZipFile, source: Path, name: str) -> None:
    with source.open("rb") as stream:
        entry = zipfile.ZipInfo(f"{ROOT}/{name}", _NO_DATE)
        entry.file_size = source.stat().st_size  # tells how many bytes the sizes themselves need
        with archive.open(entry, "w") as target:
            shutil.copyfileobj(stream, target)


def _weights(config: Path, beside: Path) -> list[str]:
    """Return the names of the files that hold the weights, and of their index if they have one."""
    if (beside / _WEIGHTS).exists():
        return [_WEIGHTS]
    if not (beside / _INDEX).exists():
        raise _no_safetensors(config, beside)
    with (beside / _INDEX).open("rb") as stream:
        content = stream.read(_MAX_INDEX_BYTES)
    try:
        names = sorted({str(name) for name in json.loads(content)["weight_map"].values()})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptModel(config, f"its {_INDEX} names no files of weights") from error
    for name in names:
        if not _SHARD.fullmatch(name):
            raise CorruptModel(config, f"its weights are to be in {name!r:.120}, which is no file in its folder")
        if not (beside / name).exists():
            raise CorruptModel(config, f"its weights are to be in {name}, which is not there", remedy="copy all files")
    return [*names, _INDEX]


def _no_safetensors(config: Path, beside: Path) -> CorruptModel | UnsupportedModel:
    name = architecture_of(config)
    if not has_weights(beside):
        return CorruptModel(config, f"there is no {_WEIGHTS} beside it", remedy="copy the whole folder")
    return UnsupportedModel(
        f"{config} has its weights in another format than safetensors",
        remedy=f"save them so: python -c \"from transformers import {name} as M; M.from_pretrained('FOLDER')"
        ".save_pretrained('FOLDER')\"",
    )
