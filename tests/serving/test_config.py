"""The description of an endpoint in a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.serving.conftest import described

from servefit.backends.model.types import Input
from servefit.errors import SpecError
from servefit.serving.config import EndpointConfig
from servefit.version import __version__


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "endpoint.json"
    config = described({"any": [1, "fact"]}, {"rows": 7}, workers=3, environment=(("COLOUR", "blue"),))
    path.write_bytes(config.document())
    return path


def test_a_description_is_read_as_it_was_written(file: Path) -> None:
    config = EndpointConfig.read(file)
    written = described({"any": [1, "fact"]}, {"rows": 7}, workers=3, environment=(("COLOUR", "blue"),))
    assert config == replace(written, artifact=replace(written.artifact, folder=str(file.parent / "artifact")))
    assert config.opened().facts == {"any": [1, "fact"]}


def test_inputs_are_part_of_it_and_one_of_before_they_were_known_is_read(file: Path) -> None:
    ids = Input(name="ids", datatype="int64", shape=(3,), start=0, stop=3, lowest=-(2**63), highest=2**63 - 1)
    config = EndpointConfig.read(file)
    config = replace(config, signature=replace(config.signature, inputs=(ids,), integer_features=(0, 1, 2)))
    file.write_bytes(config.document())
    assert EndpointConfig.read(file) == config
    assert EndpointConfig.read(file).signature.row_datatype == "int64"
    document = json.loads(file.read_bytes())
    del document["signature"]["inputs"]
    file.write_text(json.dumps(document))
    assert EndpointConfig.read(file).signature == replace(config.signature, inputs=())


def test_the_folder_of_an_artifact_lies_beside_the_description_unless_it_is_absolute(file: Path) -> None:
    config = EndpointConfig.read(file)
    assert config.opened().folder == file.parent / "artifact"
    file.write_bytes(replace(config, artifact=replace(config.artifact, folder="/elsewhere")).document())
    assert EndpointConfig.read(file).opened().folder == Path("/elsewhere")


def test_what_a_newer_servefit_wrote_is_left_out_and_named(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = EndpointConfig.read(file)
    assert caplog.messages == []
    document = json.loads(file.read_bytes())
    document["colour"] = "red"
    document["limits"]["streams"] = 4
    file.write_text(json.dumps(document))
    assert EndpointConfig.read(file) == config
    assert caplog.messages == [f"{file}: left out limits.streams, colour, which servefit {__version__} does not know"]


def test_a_newer_schema_is_told_before_what_it_changed(file: Path) -> None:
    file.write_text(json.dumps({"schema": 7, "models": []}))
    told = rf"schema: 7 is of a newer servefit; this is servefit {__version__}, which reads up to 1; update servefit$"
    with pytest.raises(SpecError, match=told):
        EndpointConfig.read(file)


def test_a_newer_schema_is_told_with_the_version_that_wrote_it(file: Path) -> None:
    assert json.loads(file.read_bytes())["servefit"] == __version__
    file.write_text(json.dumps({"schema": 7, "servefit": "9.1", "models": []}))
    told = (
        rf"schema: 7 is of servefit 9\.1; this is servefit {__version__}, which reads up to 1; "
        r"update servefit to 9\.1 or later$"
    )
    with pytest.raises(SpecError, match=told):
        EndpointConfig.read(file)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"name":' * 100_000], ids=["lists", "objects"])
def test_a_file_that_is_nested_too_deep_is_no_description(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SpecError, match="is not the description of an endpoint"):
        EndpointConfig.read(file)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "two words", "name: 'two words' is not a name"),
        ("schema", 2, f"schema: 2 is of servefit {__version__}"),
        ("schema", 0, "schema: 0 is not the 1"),
        ("workers", 0, "$.workers"),
        ("max_batch", "many", "$.max_batch"),
        ("port", 70_000, "$.port"),
        ("host", "", "$.host"),
        ("limits", {"rows": -1}, "$.limits.rows"),
        ("signature", {}, "$.signature"),
    ],
)
def test_what_is_wrong_is_named(file: Path, field: str, value: object, said: str) -> None:
    document = json.loads(file.read_bytes())
    file.write_text(json.dumps(document | {field: value}))
    with pytest.raises(SpecError) as error:
        EndpointConfig.read(file)
    assert said in str(error.value)


def test_a_file_that_is_not_there_or_no_description_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        EndpointConfig.read(tmp_path / "endpoint.json")
    (tmp_path / "endpoint.json").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="is not the description of an endpoint"):
        EndpointConfig.read(tmp_path / "endpoint.json")
