"""Models in OpenVINO's own format, IR: a graph in XML, and its weights in a file of the same name beside it, ``.bin``.

Both become one file, a ZIP archive of the two, whose SHA-256 is the model's digest. What is in them is OpenVINO's to
read. Format: https://docs.openvino.ai/2025/documentation/openvino-ir-format.html
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from servefit.backends.model.keeping import ModelFile, file_digest, read_once
from servefit.backends.model.types import Format
from servefit.errors import CorruptModel
from servefit.state import writing

GRAPH, WEIGHTS = "openvino/model.xml", "openvino/model.bin"
"""The names in an archive. OpenVINO looks for the weights beside the graph, by the graph's name."""

_NO_DATE = (1980, 1, 1, 0, 0, 0)
"""The same model makes the same file whenever it is read."""


def with_weights(model: ModelFile, beside: Path, folder: Path) -> ModelFile:
    """Return the ``model`` of a graph, whose weights are in the folder ``beside``, as one archive in the empty
    ``folder``. An archive is returned unchanged. Raises CorruptModel where the weights are missing, and StateError."""
    with model.file.open("rb") as stream:
        if stream.read(2) == b"PK":
            return model
    weights = beside / f"{model.file.stem}.bin"
    if not weights.exists():
        raise CorruptModel(
            model.file,
            f"its weights {weights.name} are not beside it",
            remedy="put both files into one folder; OpenVINO writes them together",
        )
    target = folder / "model.zip"
    with writing(folder):
        folder.mkdir()
    copy = folder / "weights"
    read_once(weights, copy)
    with writing(target), zipfile.ZipFile(target, "w") as archive:
        for name, file in ((GRAPH, model.file), (WEIGHTS, copy)):
            with file.open("rb") as source, archive.open(zipfile.ZipInfo(name, _NO_DATE), "w", force_zip64=True) as to:
                while chunk := source.read(_CHUNK_BYTES):
                    to.write(chunk)
    copy.unlink()
    return ModelFile(file=target, digest=file_digest(target), format=Format.OPENVINO_IR)


_CHUNK_BYTES = 2**20


def graph_in(archive: Path, folder: Path) -> Path:
    """Write both files of an ``archive`` into ``folder``, and return that of the graph. Raises CorruptModel where the
    archive holds others."""
    with zipfile.ZipFile(archive) as opened:
        if sorted(opened.namelist()) != sorted((GRAPH, WEIGHTS)):
            raise CorruptModel(archive, f"an archive of OpenVINO's IR holds {GRAPH} and {WEIGHTS} alone")
        for name in (GRAPH, WEIGHTS):
            with writing(folder):
                opened.extract(name, folder)
    return folder / GRAPH
