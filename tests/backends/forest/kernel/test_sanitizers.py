"""The C code under the sanitizers of gcc: it reads and writes inside what it was given, whatever that is, and its
threads do not race. scripts/fuzz_artifacts looks further, for longer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from servefit.backends.forest._kernel import Forest, instruction_sets
from servefit.backends.forest.file_format import HEADER, SECTIONS, TREE, map_forest
from servefit.backends.forest.walks import NARROW

pytestmark = pytest.mark.thorough

ADDRESSES = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
BATCHES = (1, 3, 8, 17, 50, 64, 65, 200)
MODELS = ("heaps", "wide_heaps", "categories", "wide_categories", "classes", "walks", "wide_walks", "float64")
EDGES = (0, 1, 0x7FFFFFFF, 0x80000000, 0x8000, 0xFFFF, 0x40000000, 0xFFFFFFFF, 0xBF800000)

Build = Callable[..., Path]
Artifacts = Callable[[str], dict[str, Path]]


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """``command``, which a sanitizer ends with an error after its report."""
    options = {"ASAN_OPTIONS": "detect_leaks=1", "TSAN_OPTIONS": "halt_on_error=1"}
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=os.environ | options)
    if "unexpected memory mapping" in done.stderr:  # older thread sanitizers do not know how newer kernels place memory
        done = subprocess.run(["setarch", "-R", *words], capture_output=True, text=True, timeout=120, check=False)
    return done


def predicted(artifact: Path, rows: np.ndarray, instructions: str, threads: int) -> np.ndarray:
    """By the kernel that Python loads: the predictions of each batch size one after the other."""
    forest = Forest(map_forest(artifact), threads=threads, instructions=instructions)
    outputs = int(np.frombuffer(artifact.read_bytes()[: HEADER.itemsize], HEADER)["outputs"][0])
    all_out = np.empty((len(BATCHES), len(rows), outputs), np.float32)
    for size, out in zip(BATCHES, all_out, strict=True):
        for begin in range(0, len(rows), size):
            forest.predict(rows[begin : begin + size], out[begin : begin + size])
    forest.close()
    return all_out.ravel()


@pytest.mark.parametrize("name", MODELS)
def test_predictions_stay_inside_their_memory_and_are_those_of_the_loaded_kernel(
    build: Build, artifacts: Artifacts, tmp_path: Path, name: str
) -> None:
    program, artifact = build("predict.c", *ADDRESSES), artifacts("models")[name]
    header = np.frombuffer(artifact.read_bytes()[: HEADER.itemsize], HEADER)[0]
    datatype = np.float64 if header["wide_values"] else np.float32
    rows = np.fromfile(artifact.with_suffix(".rows"), datatype).reshape(-1, int(header["features"]))
    for instructions in instruction_sets():
        for threads in (1, 3):
            out = tmp_path / "out"
            done = run(program, artifact, artifact.with_suffix(".rows"), out, instructions, threads, 1, *BATCHES)
            assert (done.returncode, done.stderr) == (0, "")
            expected = predicted(artifact, rows, instructions, threads)
            np.testing.assert_array_equal(np.fromfile(out, np.int32), expected.view(np.int32))


@pytest.mark.timed
@pytest.mark.parametrize("name", ["heaps", "classes", "walks"])
def test_threads_that_are_met_awake_and_asleep_do_not_race(
    build: Build, artifacts: Artifacts, tmp_path: Path, name: str
) -> None:
    program, artifact = build("predict.c", "-fsanitize=thread"), artifacts("models")[name]
    for instructions in instruction_sets():
        rows = artifact.with_suffix(".rows")
        done = run(program, artifact, rows, tmp_path / "out", instructions, 3, 2, 8, 17, 50, 65, 200)
        assert (done.returncode, done.stderr) == (0, "")


def changed(content: bytes, generator: np.random.Generator) -> bytes:
    """Some bits flipped, or some numbers of 32 bits replaced, a third of them in the header."""
    result = np.frombuffer(content.ljust(-(-len(content) // 4) * 4, b"\0"), np.uint32).copy()
    words = HEADER.itemsize // 4
    for _ in range(generator.integers(1, 4)):
        at = generator.integers(4, words) if generator.random() < 1 / 3 else generator.integers(words, len(result))
        kind = generator.integers(4)
        if kind == 0:
            result[at] ^= np.uint32(1 << generator.integers(32))
        elif kind == 1:
            result[at] = generator.choice(EDGES)
        elif kind == 2:
            result[at] = generator.integers(300)
        else:
            result[at] = generator.choice(result)
    return result.tobytes()[: len(content)]


@pytest.mark.parametrize("name", MODELS)
def test_a_changed_file_is_refused_or_predicted_inside_its_memory(
    build: Build, artifacts: Artifacts, tmp_path: Path, name: str
) -> None:
    program, content = build("fuzz_open.c", *ADDRESSES), artifacts("seeds")[name].read_bytes()
    files = [tmp_path / str(number) for number in range(60)]
    for number, file in enumerate(files):
        file.write_bytes(changed(content, np.random.default_rng(number)))
    done = run(program, *files)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-200:]
    accepted = done.stdout.count(": accepted\n")
    assert 0 < accepted < len(files)


def test_rows_that_a_block_lacks_end_their_walks_inside_the_nodes(
    build: Build, artifacts: Artifacts, tmp_path: Path
) -> None:
    """The nodes are the last array here. All leaves are negative, and rows of zeros come to the last one first."""
    artifact = artifacts("models")["walks"]
    content = bytearray(artifact.read_bytes())
    content += b"\0" * (-len(content) % 64)
    header = np.frombuffer(content[: HEADER.itemsize], HEADER).copy()
    places = {name: header["sections"][0][nth] for nth, name in enumerate(SECTIONS)}
    nodes = np.zeros(83, NARROW)
    nodes["bound"], nodes["step"][0], nodes["step"][1:80:2] = np.float32(-1).view(np.int32), 1, 2
    header["size"] = len(content) + nodes.nbytes
    places["nodes"]["begin"], places["nodes"]["count"] = len(content), len(nodes)
    trees = np.frombuffer(content, TREE, places["trees"]["count"], places["trees"]["begin"])
    trees["root"], trees["levels"] = 0, 0
    begin, size = int(places["exits"]["begin"]), 4 * int(places["exits"]["count"])
    content[begin : begin + size] = bytes(size)
    content[: HEADER.itemsize] = header.tobytes()
    crafted, program = tmp_path / "crafted.forest", build("predict.c", *ADDRESSES)
    crafted.write_bytes(bytes(content) + nodes.tobytes())
    for instructions in instruction_sets():
        done = run(program, crafted, artifact.with_suffix(".rows"), tmp_path / "out", instructions, 1, 1, 63)
        assert (done.returncode, done.stderr) == (0, "")
