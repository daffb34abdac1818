"""OpenVINO serves networks as ONNX Runtime does, in the precision and on the threads that it was asked for, and reports
to nobody."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.onnx_models import (
    BOOL,
    FLOAT,
    INT8,
    INT64,
    TEXT_INPUTS,
    hashed,
    node,
    of_all_outputs,
    perceptron,
    save,
    text,
    texts,
)

from servefit.backends.checking.reference import reference
from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.finding.capabilities import backend
from servefit.backends.finding.registry import imported
from servefit.backends.libraries.openvino_library import check_properties, compiled_network, imported_silently
from servefit.backends.model import Model
from servefit.backends.payload.reading import payload_for
from servefit.backends.types import Artifact, Precision, Settings, Target
from servefit.errors import BackendError, CompileFailed, RowsRefused

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]

WIDE = 1024


def windows(path: Path) -> Path:
    """A model of sequences of four numbers or more: averages over windows of four, (n, averages)."""
    nodes = [
        node("Unsqueeze", ["x", "axis"], ["channel"]),
        node("AveragePool", ["channel"], ["averages"], kernel_shape=[4]),
        node("Squeeze", ["averages", "axis"], ["y"]),
    ]
    return save(path, {"x": (FLOAT, ["n", "length"])}, nodes, {"y": FLOAT}, {"axis": np.array([1])})


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(perceptron(tmp_path_factory.mktemp("wide") / "wide.onnx", 64, WIDE, WIDE, 8))


def test_texts_of_any_length_are_served_with_all_outputs(tmp_path: Path) -> None:
    file = texts(tmp_path / "texts.onnx")
    model = Model.load(file)
    requests = [text(length, seed) for seed, length in enumerate((5, 17, 5, 40))]
    payload = payload_for(model, [{name: row[name][0] for name in TEXT_INPUTS} for row in requests])
    compiled = compile_model(model, "openvino", payload=payload)
    predictor = load_predictor(compiled.artifact, Settings())
    packing = model.signature.output_packing
    for request, row in zip(requests, predictor.predict(payload.rows), strict=True):
        own = of_all_outputs(file, request)
        [(_, sizes)] = packing.groups(row[np.newaxis])
        for place in packing.places(sizes):
            got = row[place.start : place.stop].reshape(place.shape)
            np.testing.assert_allclose(got, own[place.tensor.name][0], rtol=1e-5, atol=1e-6)


def test_inputs_and_outputs_of_several_datatypes_are_served(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["mask"], ["numbers"], to=FLOAT),
        node("Mul", ["x", "numbers"], ["kept"]),
        node("Cast", ["small"], ["floats"], to=FLOAT),
        node("Add", ["kept", "floats"], ["y"]),
        node("Greater", ["y", "x"], ["larger"]),
    ]
    inputs = {"x": (FLOAT, ["n", 3]), "mask": (BOOL, ["n", 3]), "small": (INT8, ["n", 3])}
    model = Model.load(save(tmp_path / "m.onnx", inputs, nodes, {"y": FLOAT, "larger": BOOL}))
    predictor = load_predictor(compile_model(model, "openvino").artifact, Settings())
    rows = np.array([[1, 2, 3, 1, 0, 1, -5, 0, 5]], dtype=np.float32)
    rows.flags.writeable = False
    np.testing.assert_array_equal(predictor.predict(rows), [[-4, 0, 8, 0, 0, 1]])


def test_what_is_kept_holds_the_weights_in_float32(wide: Model) -> None:
    compiled = compile_model(wide, "openvino")
    weights = sum(path.stat().st_size for path in compiled.artifact.folder.glob("*.bin"))
    assert weights >= 4 * (64 * WIDE + WIDE * WIDE + WIDE * 8)
    assert compiled.max_rel_error < 3e-5


def test_the_precision_is_part_of_what_an_artifact_is_found_by() -> None:
    assert backend("openvino").precision is Precision.EXACT
    assert backend("openvino/bf16").precision is Precision.BF16
    names = ("openvino", "openvino/bf16", "openvino/int8")
    assert len({backend(name).cache_key() for name in names}) == len(names)


def test_bf16_is_offered_where_the_processor_has_it_and_is_what_it_computes_in(wide: Model, tmp_path: Path) -> None:
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    native = not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())
    assert backend("openvino/bf16").probe().available == native
    try:
        facts = imported("openvino/bf16").compile(wide, Target.CPU, tmp_path)
    except CompileFailed as error:
        # OpenVINO takes float32 instead where it cannot even imitate it, and that is not let pass.
        assert not native
        assert "INFERENCE_PRECISION_HINT bf16, and has f32" in str(error)  # noqa: PT017
        return
    artifact = replace(compile_model(wide, "openvino").artifact, folder=tmp_path, facts=facts)
    predictor = imported("openvino/bf16").load(artifact, Settings())
    rows = np.random.default_rng(0).standard_normal((4, 64), dtype=np.float32)
    expected = reference(wide)(rows)
    assert 1e-4 < np.abs(predictor.predict(rows) - expected).max() / np.abs(expected).max() < 0.05


def test_nothing_is_computed_in_another_precision_than_was_asked_for(wide: Model) -> None:
    folder = compile_model(wide, "openvino").artifact.folder

    def executed(precision: str) -> set[str]:
        compiled = compiled_network(folder / "model.xml", "openvino", precision, Settings(threads=1))
        operations = compiled.get_runtime_model().get_ops()
        return {str(operation.get_rt_info()["runtimePrecision"].astype(str)) for operation in operations}

    assert "f32" in executed("f32")
    assert not executed("f32") & {"bf16", "f16", "i8", "u8"}
    try:
        # Most CPUs have no float16 to compute in, and OpenVINO says so nowhere else.
        assert "f16" in executed("f16")
    except BackendError as error:
        assert re.search(r"asked for INFERENCE_PRECISION_HINT f16, and has (f32|bf16)", str(error))  # noqa: PT017


def test_activations_are_not_quantised_where_weights_are(wide: Model) -> None:
    folder = compile_model(wide, "openvino").artifact.folder
    compiled = compiled_network(folder / "model.xml", "openvino", "f32", Settings(threads=1))
    assert compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") == 0
    with pytest.raises(BackendError, match="DYNAMIC_QUANTIZATION_GROUP_SIZE 0, and has 32"):
        check_properties("openvino", {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}, {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 32})


def test_more_threads_than_there_are_cpus_are_refused_and_not_cut_down(wide: Model) -> None:
    artifact = compile_model(wide, "openvino").artifact
    with pytest.raises(BackendError, match="INFERENCE_NUM_THREADS 4096") as raised:
        load_predictor(artifact, Settings(threads=4096))
    assert raised.value.remedy is not None


def ticks() -> dict[str, int]:
    """The clock ticks that each thread of this process has had so far."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        found[task.name] = int(fields[11]) + int(fields[12])
    return found


@pytest.mark.timed
@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.thorough), 2])
def test_it_computes_on_as_many_threads_as_it_was_told_and_none_spins_afterwards(wide: Model, threads: int) -> None:
    predictor = load_predictor(compile_model(wide, "openvino").artifact, Settings(threads=threads))
    rows = np.random.default_rng(0).standard_normal((256, 64), dtype=np.float32)
    predictor.predict(rows)
    before, end_s = ticks(), time.monotonic() + 1.5
    while time.monotonic() < end_s:
        predictor.predict(rows)
    spent = {name: count - before.get(name, 0) for name, count in ticks().items()}
    assert sum(count > 0.15 * max(spent.values()) for count in spent.values()) == threads
    idle_from_s = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - idle_from_s < 0.05
    predictor.close()


SIGNALLED = """
import gc
import os
import signal
import sys
from pathlib import Path
from servefit.backends.libraries.openvino_library import compiled_network
from servefit.backends.types import Settings
first = compiled_network(Path(sys.argv[1]), "openvino", "f32", Settings(threads=1))
second = compiled_network(Path(sys.argv[1]), "openvino", "f32", Settings(threads=1))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("told"))
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_signal_is_no_end_of_a_process_that_closed_two_models(wide: Model) -> None:
    model = compile_model(wide, "openvino").artifact.folder / "model.xml"
    ended = subprocess.run([sys.executable, "-c", SIGNALLED, str(model)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "told\n"), ended.stderr


def test_a_token_that_the_vocabulary_does_not_have_is_refused(tmp_path: Path) -> None:
    nodes = [node("Gather", ["words", "ids"], ["y"])]
    words = np.arange(20, dtype=np.float32).reshape(10, 2)
    model = Model.load(save(tmp_path / "m.onnx", {"ids": (INT64, ["n", 3])}, nodes, {"y": FLOAT}, {"words": words}))
    predictor = load_predictor(compile_model(model, "openvino").artifact, Settings())
    np.testing.assert_array_equal(predictor.predict(np.array([[0, 9, -1]])), [[0, 1, 18, 19, 18, 19]])
    # OpenVINO itself answers the first two with zeros, and the last as if it were 3.
    for token in (10, -11):
        with pytest.raises(RowsRefused, match=f"{token} is looked up in a table of 10 rows"):
            predictor.predict(np.array([[0, token, 1]]))
    with pytest.raises(RowsRefused, match="ids has a whole number of more than 32 bits"):
        predictor.predict(np.array([[0, 2**40 + 3, 1]]))


def test_a_text_that_is_longer_than_the_position_table_is_refused(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["ids"], ["shape"]),
        node("Gather", ["shape", "one"], ["length"]),
        node("Range", ["zero", "length", "one"], ["places"]),
        node("Gather", ["positions", "places"], ["of_places"]),
        node("Gather", ["words", "ids"], ["of_words"]),
        node("Add", ["of_words", "of_places"], ["y"]),
    ]
    constants = {
        "one": np.int64(1),
        "zero": np.int64(0),
        "positions": np.arange(64, dtype=np.float32).reshape(32, 2),
        "words": np.arange(20, dtype=np.float32).reshape(10, 2),
    }
    model = Model.load(save(tmp_path / "m.onnx", {"ids": (INT64, ["n", "t"])}, nodes, {"y": FLOAT}, constants))
    predictor = load_predictor(compile_model(model, "openvino").artifact, Settings())
    assert predictor.predict(np.array([[32, *[1] * 32]])).shape == (1, 1 + 64)
    with pytest.raises(RowsRefused, match="32 is looked up in a table of 32 rows"):
        predictor.predict(np.array([[33, *[1] * 33]]))


def test_whole_numbers_of_more_than_32_bits_are_left_to_others(tmp_path: Path) -> None:
    supported = backend("openvino").supports(Model.load(hashed(tmp_path / "hashed.onnx")))
    assert not supported.available
    assert "32 bits" in str(supported.reason)


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=[pytest.mark.timed, pytest.mark.thorough])])
def test_a_request_of_a_size_that_the_model_refuses_is_not_answered_with_the_answer_before(
    tmp_path: Path, threads: int
) -> None:
    model = Model.load(windows(tmp_path / "windows.onnx"))
    payload = payload_for(model, [{"x": np.arange(length, dtype=np.float32)} for length in (8, 12, 9)])
    artifact = compile_model(model, "openvino", payload=payload).artifact
    predictor = load_predictor(artifact, Settings(threads=threads))
    first = predictor.predict(np.array([[6, 1, 2, 3, 4, 5, 6]], dtype=np.float32))
    np.testing.assert_allclose(first, [[3, 2.5, 3.5, 4.5]])
    with pytest.raises(RowsRefused):
        predictor.predict(np.array([[2, 1, 2]], dtype=np.float32))
    np.testing.assert_allclose(predictor.predict(np.array([[4, 1, 1, 1, 1]], dtype=np.float32)), [[1, 1]])


def test_calls_of_shapes_that_went_well_before_are_answered_as_their_own(wide: Model) -> None:
    """A call of shapes that are new is another way through OpenVINO than those after it, and one of little to copy is
    another than one of much."""
    rows = np.random.default_rng(0).standard_normal((410, 64)).astype(np.float32)
    given = rows.copy()
    artifact = compile_model(wide, "openvino").artifact
    assert artifact.facts["shapes_follow_inputs"] is True
    predictor = load_predictor(artifact, Settings(threads=1))
    expected = reference(wide)(rows)
    for begin, count in enumerate((1, 1, 3, 1, 400, 400, 3, 1, 1, 400)):
        here = slice(begin, begin + count)
        np.testing.assert_allclose(predictor.predict(rows[here]), expected[here], rtol=1e-4, atol=1e-5)
        with pytest.raises(RowsRefused):
            predictor.predict(rows[here].astype(np.int64))
    np.testing.assert_array_equal(rows, given)


def test_a_row_alone_is_answered_by_the_network_that_is_compiled_for_one(wide: Model, tmp_path: Path) -> None:
    artifact = compile_model(wide, "openvino").artifact
    assert artifact.facts["of_one_row"] == {"x0": [1, 64]}
    predictor = load_predictor(artifact, Settings())
    rows = np.random.default_rng(0).standard_normal((3, 64), dtype=np.float32)
    alone = [predictor.predict(row[np.newaxis]) for row in rows]
    np.testing.assert_allclose(np.concatenate(alone), predictor.predict(rows), rtol=1e-5, atol=1e-6)
    assert compile_model(Model.load(texts(tmp_path / "t.onnx")), "openvino").artifact.facts["of_one_row"] is None


def test_where_values_decide_what_shapes_there_are_a_call_is_not_answered_with_the_answer_before(
    tmp_path: Path,
) -> None:
    """The first number of a row says by how many cuts the other four are made parts, whose numbers are added up: two
    cuts would make three."""
    nodes = [
        node("Split", ["x", "lengths"], ["first", "others"], axis=1),
        node("ReduceMax", ["first"], ["most"], keepdims=0),
        node("Cast", ["most"], ["cuts"], to=INT64),
        node("Add", ["cuts", "one"], ["parts"]),
        node("Concat", ["rows", "parts", "rest"], ["shape"], axis=0),
        node("Reshape", ["others", "shape"], ["cut"]),
        node("ReduceSum", ["cut", "axes"], ["y"], keepdims=0),
    ]
    constants = {
        "lengths": np.array([1, 4]),
        "one": np.array([1]),
        "rows": np.array([0]),
        "rest": np.array([-1]),
        "axes": np.array([1, 2]),
    }
    file = save(tmp_path / "cut.onnx", {"x": (FLOAT, ["n", 5])}, nodes, {"y": FLOAT}, constants)
    model = Model.load(file)
    # The rows that compile_model draws would ask for cuts without end.
    openvino, folder = imported("openvino"), tmp_path / "artifact"
    folder.mkdir()
    facts = openvino.compile(model, Target.CPU, folder)
    assert facts["shapes_follow_inputs"] is False
    artifact = Artifact(
        backend="openvino",
        backend_version="",
        model_digest=model.digest,
        target=Target.CPU,
        folder=folder,
        facts=facts,
    )
    predictor = openvino.load(artifact, Settings(threads=1))
    assert predictor.predict(np.array([[1, 1, 2, 3, 5]], dtype=np.float32)).tolist() == [11]
    with pytest.raises(RowsRefused):
        predictor.predict(np.array([[2, 1, 2, 3, 4]], dtype=np.float32))


def test_a_model_that_it_cannot_read_is_refused_with_its_reason(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "shape"], ["square"]), node("Det", ["square"], ["y"])]
    file = save(tmp_path / "det.onnx", {"x": (FLOAT, ["n", 4])}, nodes, {"y": FLOAT}, {"shape": np.array([-1, 2, 2])})
    with pytest.raises(CompileFailed, match=r"openvino: OpenVINO does not read it: .*Det"):
        compile_model(Model.load(file), "openvino")


def test_it_runs_on_the_cpu_alone() -> None:
    assert not backend("openvino").probe(Target.CUDA).available


_REPORTING_NOTHING = """
import socket, sys
def refuse(*arguments, **options): raise AssertionError("a connection was made")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from servefit.backends.libraries.openvino_library import imported_silently
for name in sys.argv[1:]:
    imported_silently(name)
from pathlib import Path
from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Model
from servefit.backends.types import Settings
artifact = compile_model(Model.load("model.onnx"), "openvino").artifact
load_predictor(artifact, Settings())
print(any("openvino_telemetry" in name and module for name, module in list(sys.modules.items())))
"""


@pytest.mark.thorough
@pytest.mark.parametrize("imported", [[], ["nncf"]])
def test_nothing_is_reported_and_no_file_is_made_in_the_users_home(tmp_path: Path, imported: list[str]) -> None:
    home, state = tmp_path / "home", tmp_path / "state"
    home.mkdir()
    perceptron(tmp_path / "model.onnx", 4, 8, 2)
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "NNCF_CI", "NNCF_DEV")}
    ended = subprocess.run(
        [sys.executable, "-c", _REPORTING_NOTHING, *imported],
        cwd=tmp_path,
        env={**environment, "HOME": str(home), "SERVEFIT_HOME": str(state), "XDG_CONFIG_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()[-1] == "False"
    assert not list(home.rglob("*"))


def test_importing_it_leaves_the_telemetry_of_others_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs: Any = object()
    monkeypatch.setitem(sys.modules, "openvino_telemetry", theirs)
    monkeypatch.delitem(sys.modules, "openvino.properties.hint", raising=False)
    imported_silently("openvino.properties.hint")
    assert sys.modules["openvino_telemetry"] is theirs
