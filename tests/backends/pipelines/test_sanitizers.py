"""The kernel that counts terms reads and writes nothing that is not its own, on texts and options drawn at random."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[3] / "backends" / "pipelines" / "kernel"

FUZZING = """
import array, importlib.util, random, sys

spec = importlib.util.spec_from_file_location("_kernel", sys.argv[1])
terms = importlib.util.module_from_spec(spec)
spec.loader.exec_module(terms)
draw = random.Random(0)
letters = ["a", "b", "A", "_", " ", "\\t", "\\x1c", ",", "é", "ß", "ﬁ", "日", "😀", "\\u0301", "\\0"]
for _ in range(3000):
    shortest = draw.randint(1, 4)
    words = ["".join(draw.choices("ab é日", k=draw.randint(0, 5))) for _ in range(draw.randint(0, 60))]
    counted = terms.TermCounter(
        unit=draw.choice(["word", "char", "char_wb"]),
        least_letters=draw.randint(0, 3),
        shortest=shortest,
        longest=draw.choice([shortest, shortest + 2, 2**31 - 1]),
        width=max(len(words), 1),
        vocabulary=draw.choice([None, {word: nth for nth, word in enumerate(words)}]),
        alternating=draw.random() < 0.5,
        left_out=tuple(words[: draw.randint(0, 3)]),
    )
    for letter in draw.sample(letters, draw.randint(0, len(letters))):
        becomes = "".join(draw.choices(["a", "ß", "日", " "], k=draw.randint(0, 4)))
        counted.learn(ord(letter), becomes.encode(), bytes(draw.choices([0, 1, 2], k=len(becomes))))
    texts = [bytes(draw.choices(range(256), k=draw.randint(0, 9))) for _ in range(3)]
    texts += ["".join(draw.choices(letters, k=draw.randint(0, 40))).encode() for _ in range(5)]
    rows, columns, values, unread = counted.count(texts)
    assert len(rows) == len(columns) == len(values) and set(unread) <= set(range(8))
    assert all(0 <= terms.murmur(text) + 2**31 < 2**32 for text in texts)
    categories = terms.CategoryTable([text for text in texts if draw.random() < 0.5])
    assert len(categories.look_up(texts)) == 8 * len(texts)
    columns = draw.randint(1, 12)
    numbers = array.array("d", draw.choices([0, 1, 65, 255, 255, 256, -1, float("nan"), columns], k=3 * columns))
    rows = memoryview(numbers).cast("B").cast("d", (3, columns))
    terms.texts(rows, draw.randrange(columns), draw.randint(0, columns), draw.randint(0, 3))
print("done")
"""


@pytest.mark.thorough
@pytest.mark.integration
def test_no_byte_beyond_a_buffer_is_touched(tmp_path: Path) -> None:
    library = tmp_path / f"_kernel{sysconfig.get_config_var('EXT_SUFFIX')}"
    sources = sorted(KERNEL.glob("*.c"))
    options = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC", "-g", "-O1", "-std=c11"]
    include = f"-I{sysconfig.get_path('include')}"
    subprocess.run(["gcc", *options, include, *sources, "-o", library], check=True)
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it allocated until it ends
        "PYTHONMALLOC": "malloc",
    }
    ended = subprocess.run(
        [sys.executable, "-c", FUZZING, library],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.stdout == "done\n", ended.stderr[-3000:]
