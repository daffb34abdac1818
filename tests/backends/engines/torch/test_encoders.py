"""Encoders in folders of Hugging Face, with weights that are drawn."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.inspection import inspect
from servefit.backends.libraries.onnx_session import open_session
from servefit.backends.model import Format, Library, Model
from servefit.backends.model.formats import model_format
from servefit.backends.model.keeping import ModelFile
from servefit.backends.model.transformers_folder import ARCHITECTURES, in_one_archive
from servefit.backends.payload.reading import payload_of
from servefit.backends.types import Settings, Target
from servefit.errors import CorruptModel, UnsupportedModel

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.usefixtures("in_this_process")]

WORDS = 60
SMALL = {
    "vocab_size": WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 600,
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "AlbertModel": {**SMALL, "embedding_size": 8},
    "BertForSequenceClassification": SMALL,
    "CamembertModel": SMALL,
    "DebertaV2ForSequenceClassification": {
        **SMALL,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
    },
    "DistilBertForQuestionAnswering": {
        "vocab_size": WORDS,
        "dim": 16,
        "n_layers": 1,
        "n_heads": 2,
        "hidden_dim": 24,
        "max_position_embeddings": 600,
    },
    "ElectraForTokenClassification": {**SMALL, "embedding_size": 8},
    "ModernBertModel": {**SMALL, **SPECIAL, "local_attention": 8},
    "MPNetModel": SMALL,
    "RobertaForSequenceClassification": SMALL,
    "XLMRobertaModel": SMALL,
}
"""One of each family."""


def save_encoder(folder: Path, name: str, **options: Any) -> Any:
    """Write a small encoder as transformers does; return it."""
    import transformers  # takes seconds, also where these tests are only counted

    kind = getattr(transformers, name)
    torch.manual_seed(0)
    config = kind.config_class(**{**CONFIGS.get(name, SMALL), **options})
    module = kind._from_config(config, attn_implementation="eager").eval()
    module.save_pretrained(folder)
    return module


def texts(names: list[str], rows: int, length: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(length)
    mask = np.ones((rows, length), np.int64)
    mask[0, length // 2 :] = 0
    every = {
        "input_ids": generator.integers(3, WORDS, (rows, length)),
        "attention_mask": mask,
        "token_type_ids": np.zeros((rows, length), np.int64),
    }
    return {name: every[name] for name in names}


QUICKEST = "DistilBertForQuestionAnswering"
"""The family that is exported soonest."""


@pytest.mark.parametrize("name", CONFIGS)
def test_an_encoder_predicts_what_transformers_does_at_every_length(name: str, tmp_path: Path) -> None:
    module = save_encoder(tmp_path / "model", name)
    config = tmp_path / "model/config.json"
    found = ModelFile(file=config, digest="", format=model_format(config))
    kept = in_one_archive(found, config.parent, tmp_path / "whole")
    (tmp_path / "found").mkdir()
    inspection = inspect(kept.file, kept.format, tmp_path / "found")
    session = open_session(tmp_path / "found/converted.onnx", Target.CPU, Settings())
    inputs = [each.name for each in session.get_inputs()]
    assert inputs[:2] == ["input_ids", "attention_mask"]
    assert [size.name for size in inspection.signature.sizes] == ["sequence"]
    for rows, length in ((1, 5), (3, 17), (2, 40)):
        given = texts(inputs, rows, length)
        with torch.no_grad():
            wanted = module(**{each: torch.from_numpy(values) for each, values in given.items()})
        got = dict(zip([each.name for each in session.get_outputs()], session.run(None, given), strict=True))
        assert set(got) == set(wanted)
        for output, values in got.items():
            np.testing.assert_allclose(values, wanted[output].numpy(), rtol=1e-3, atol=2e-5)


def test_every_architecture_of_the_list_is_one_of_transformers() -> None:
    import transformers

    assert [name for name in sorted(ARCHITECTURES) if not hasattr(transformers, name)] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoders") / "bert"
    save_encoder(path, "BertForSequenceClassification")
    (path / "tokenizer.json").write_text('{"version": "1.0", "truncation": null}')
    return path


def test_a_folder_is_served_by_both_without_a_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as asked:
        asked.settimeout(0.1)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{asked.getsockname()[1]}")
        model = Model.load(folder)
        assert (model.format, model.library, model.reference) == (Format.HUGGINGFACE, Library.TORCH, "torch")
        payload = payload_of(texts([each.name for each in model.signature.inputs], 3, 9), model.signature)
        both = [
            load_predictor(compile_model(model, name, payload=payload).artifact, Settings()).predict(payload.rows)
            for name in ("onnxruntime", "torch")
        ]
        np.testing.assert_allclose(both[0], both[1], rtol=1e-3, atol=2e-5)
        with pytest.raises(TimeoutError):
            asked.accept()


@pytest.fixture(scope="module")
def with_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that names code of its own, which leaves a file where it runs."""
    path = tmp_path_factory.mktemp("encoders") / "with_code"
    save_encoder(path, QUICKEST)
    config = json.loads((path / "config.json").read_bytes())
    config["auto_map"] = {"AutoModel": "own.Model", "AutoConfig": "own.Config"}
    (path / "config.json").write_text(json.dumps(config))
    (path / "own.py").write_text(f"open({str(path / 'ran')!r}, 'w')\n")
    return path


def test_the_same_folder_in_an_archive_is_the_same_model(with_code: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(with_code, ".")
    assert Model.load(archive).digest == Model.load(with_code).digest == Model.load(with_code / "config.json").digest


def test_code_in_the_folder_is_not_run(with_code: Path) -> None:
    Model.load(with_code)
    assert not (with_code / "ran").exists()


def test_weights_that_are_not_all_there_are_not_drawn(with_code: Path, tmp_path: Path) -> None:
    save_encoder(tmp_path / "m", "DistilBertModel", **CONFIGS[QUICKEST])
    shutil.copy(with_code / "config.json", tmp_path / "m")
    with pytest.raises(UnsupportedModel, match="its weights are not all there: qa_outputs"):
        Model.load(tmp_path / "m")


def test_a_pooler_that_was_not_saved_is_left_out(tmp_path: Path) -> None:
    save_encoder(tmp_path / "m", "BertModel")
    from transformers import BertModel

    plain = BertModel.from_pretrained(tmp_path / "m", add_pooling_layer=False)
    shutil.rmtree(tmp_path / "m")
    plain.save_pretrained(tmp_path / "m")
    model = Model.load(tmp_path / "m")
    assert [each.name for each in model.signature.output_tensors] == ["last_hidden_state"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda folder: os.truncate(folder / "model.safetensors", 900),
            "header is to have|ends before its tensors",
        ),
        (
            lambda folder: os.truncate(folder / "model.safetensors", 5),
            "model.safetensors beside it.*ends before its header",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "without weights beside its config.json"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "has its weights in another format than safetensors",
        ),
        (
            lambda folder: (
                (folder / "model.safetensors").unlink(),
                (folder / "pytorch_model.bin").touch(),
                (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../b.safetensors"}}'),
            ),
            "is no file in its folder",
        ),
    ],
)
def test_weights_that_are_missing_or_damaged_are_named(damage: Any, reason: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "bert")
    damage(tmp_path / "bert")
    with pytest.raises((CorruptModel, UnsupportedModel), match=reason):
        Model.load(tmp_path / "bert")


def test_a_model_in_several_files_is_one(folder: Path, tmp_path: Path) -> None:
    from transformers import BertForSequenceClassification

    BertForSequenceClassification.from_pretrained(folder).save_pretrained(tmp_path / "m", max_shard_size="8KB")
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 1
    assert Model.load(tmp_path / "m").signature.outputs == Model.load(folder).signature.outputs


def test_inputs_that_never_change_and_a_mask_are_said_of_a_folder(folder: Path) -> None:
    model = Model.load(folder, inputs={"token_type_ids": "zeros"}, pad="attention_mask")
    assert [each.name for each in model.signature.inputs] == ["input_ids", "attention_mask"]
    requests = [{each.name: np.ones(length, np.int64) for each in model.signature.inputs} for length in (4, 7)]
    payload = payload_of(requests, model.signature)
    for name in ("onnxruntime", "torch"):
        assert compile_model(model, name, payload=payload).max_rel_error < 1e-4
