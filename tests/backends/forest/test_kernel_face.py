"""The interface of the kernel's module: what it accepts and what it refuses."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from tests.backends.forest.compiling import predictions

from servefit.backends.forest._kernel import FORMAT_VERSION, Forest, instruction_sets
from servefit.backends.forest.file_format import VERSION, map_forest

if TYPE_CHECKING:
    import mmap
    from pathlib import Path

FEATURES, OUTPUTS = 9, 12


@pytest.fixture
def mapped(small_forest: bytes, file: Path) -> mmap.mmap:
    file.write_bytes(small_forest)
    return map_forest(file)


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, FEATURES), dtype=np.float32)


def room(count: int) -> np.ndarray:
    return np.empty((count, OUTPUTS), dtype=np.float32)


def test_the_kernel_reads_the_version_that_is_written() -> None:
    assert FORMAT_VERSION == VERSION


def test_the_best_instruction_set_is_taken_and_any_other_by_its_name(mapped: mmap.mmap) -> None:
    names = instruction_sets()
    assert names[-1] == "portable"
    assert Forest(mapped).instructions == names[0]
    assert [Forest(mapped, instructions=name).instructions for name in names] == names
    assert 2 <= Forest(mapped).block_rows <= 64


@pytest.mark.parametrize("shape", [(3, FEATURES - 1), (3, FEATURES + 1), (2, FEATURES), (4, FEATURES), (0, FEATURES)])
def test_rows_of_another_size_are_refused(shape: tuple[int, int], mapped: mmap.mmap) -> None:
    with pytest.raises(ValueError, match="rows of 9 float32 values and room for 12 of each were expected"):
        Forest(mapped).predict(np.zeros(shape, dtype=np.float32), room(3))


@pytest.mark.parametrize("count", [2, 4, 0])
def test_room_of_another_size_is_refused(count: int, mapped: mmap.mmap) -> None:
    with pytest.raises(ValueError, match="room for 12 of each were expected"):
        Forest(mapped).predict(rows(3), room(count))


def test_room_that_cannot_be_written_to_is_refused(mapped: mmap.mmap) -> None:
    out = room(3)
    out.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        Forest(mapped).predict(rows(3), out)
    with pytest.raises(BufferError):
        Forest(mapped).predict(rows(3), bytes(3 * OUTPUTS * 4))


def test_rows_that_do_not_lie_side_by_side_are_refused(mapped: mmap.mmap) -> None:
    with pytest.raises(ValueError, match="not C-contiguous"):
        Forest(mapped).predict(rows(6)[::2], room(3))


def test_anything_but_two_buffers_is_refused(mapped: mmap.mmap) -> None:
    with pytest.raises(TypeError, match="takes rows and room"):
        Forest(mapped).predict(rows(3))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="bytes-like"):
        Forest(mapped).predict(rows(3).tolist(), room(3))


def test_no_rows_are_no_work(mapped: mmap.mmap) -> None:
    for threads in (1, 2):
        forest = Forest(mapped, threads=threads)
        forest.predict(rows(0), room(0))
        assert predictions(forest, rows(0), OUTPUTS).shape == (0, OUTPUTS)


def test_a_closed_forest_predicts_no_more_and_lets_go_of_the_file(mapped: mmap.mmap) -> None:
    forest = Forest(mapped, threads=2)
    with pytest.raises(BufferError):
        mapped.close()
    forest.close()
    forest.close()
    assert (forest.instructions, forest.block_rows) == (None, 0)
    with pytest.raises(ValueError, match="the forest is closed"):
        forest.predict(rows(3), room(3))
    mapped.close()


def test_a_forest_is_opened_once(mapped: mmap.mmap) -> None:
    forest = Forest(mapped)
    expected = predictions(forest, rows(70), OUTPUTS)
    with pytest.raises(RuntimeError, match="opened once"):
        forest.__init__(mapped)  # type: ignore[misc]
    np.testing.assert_array_equal(predictions(forest, rows(70), OUTPUTS), expected)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_forest_needs_a_thread(threads: int, mapped: mmap.mmap) -> None:
    with pytest.raises(ValueError, match="one thread at least"):
        Forest(mapped, threads=threads)


def test_an_instruction_set_that_does_not_run_here_is_named(mapped: mmap.mmap) -> None:
    with pytest.raises(OSError, match="avx1024 does not run here"):
        Forest(mapped, instructions="avx1024")


def test_a_file_that_lies_across_cache_lines_is_refused(small_forest: bytes) -> None:
    shifted = np.frombuffer(b"\0" * 128 + small_forest, dtype=np.uint8)
    begin = 1 - shifted.ctypes.data % 64 + 64
    with pytest.raises(ValueError, match="multiple of 64 bytes"):
        Forest(shifted[begin:])


def test_two_forests_of_one_file_predict_side_by_side(mapped: mmap.mmap) -> None:
    first, second = Forest(mapped), Forest(mapped, threads=2)
    expected = predictions(first, rows(200), OUTPUTS)
    np.testing.assert_array_equal(predictions(second, rows(200), OUTPUTS), expected)
    first.close()
    np.testing.assert_array_equal(predictions(second, rows(200), OUTPUTS), expected)


def test_batches_of_any_size_leave_nothing_behind_for_the_next(mapped: mmap.mmap) -> None:
    forest = Forest(mapped)
    expected = predictions(forest, rows(300), OUTPUTS)
    for count in (300, 1, 64, 2, 129, 5, 1, 63, 300):
        np.testing.assert_array_equal(predictions(forest, rows(300)[-count:], OUTPUTS), expected[-count:])


def test_a_forest_without_a_reference_ends_its_threads(small_forest: bytes, file: Path) -> None:
    file.write_bytes(small_forest)
    process = psutil.Process()
    before = process.num_threads()
    forest = Forest(map_forest(file), threads=3)
    assert process.num_threads() == before + 2
    del forest
    assert process.num_threads() == before


def test_a_second_thread_is_refused_while_one_predicts(mapped: mmap.mmap) -> None:
    forest, many = Forest(mapped), rows(400_000)
    out = room(len(many))
    worker = threading.Thread(target=forest.predict, args=(many, out))
    worker.start()
    refused = set()
    while worker.is_alive():
        for call in (forest.close, lambda: forest.predict(rows(1), room(1))):
            try:
                call()
            except RuntimeError as error:
                refused.add(str(error))
            except ValueError:  # the thread had ended, and the forest was closed
                break
    worker.join()
    assert refused == {"another thread is predicting with the forest"}


def test_rows_that_lie_between_two_floats_are_refused(mapped: mmap.mmap) -> None:
    shifted = memoryview(bytearray(FEATURES * 4 + 1))[1:]
    with pytest.raises(ValueError, match="were expected"):
        Forest(mapped).predict(shifted, room(1))


def test_a_file_that_was_refused_can_be_let_go_of(mapped: mmap.mmap) -> None:
    forest = Forest.__new__(Forest)
    with pytest.raises(OSError, match="no such set does not run here"):
        forest.__init__(mapped, instructions="no such set")  # type: ignore[misc]
    mapped.close()
    with pytest.raises(RuntimeError, match="opened once"):
        forest.__init__(mapped)  # type: ignore[misc]


def test_memory_that_could_still_be_written_to_is_refused(small_forest: bytes) -> None:
    with pytest.raises(ValueError, match="could be written to"):
        Forest(bytearray(small_forest))


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:This process")  # Python 3.12 warns of forks of processes with threads
def test_a_fork_predicts_without_the_threads_that_it_does_not_have(mapped: mmap.mmap) -> None:
    forest, many = Forest(mapped, threads=3), rows(4000)
    expected = room(len(many))
    forest.predict(many, expected)
    child = os.fork()
    if not child:
        out = room(len(many))
        forest.predict(many, out)
        forest.close()
        os._exit(0 if np.allclose(out, expected, rtol=1e-5) else 1)
    assert os.waitpid(child, 0)[1] == 0
