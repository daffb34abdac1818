"""Rows that tell their own sizes: what is packed comes out again, whatever lies beside it."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from servefit.backends.model import Input
from servefit.backends.model.packing import Packing, join, of_one_width, shape_in

IMAGE = Input(name="image", datatype="float32", shape=(3, "height", "width"), start=0, stop=0)
TEXT = Input(name="text", datatype="int64", shape=("length",), start=0, stop=0)
NUMBER = Input(name="number", datatype="float32", shape=(), start=0, stop=0)
PACKING = Packing((IMAGE, TEXT, NUMBER), ("height", "width", "length"))

sizes = st.fixed_dictionaries({name: st.integers(1, 5) for name in PACKING.sizes})


def request(of: dict[str, int], rows: int, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((rows, prod(shape_in(each.shape, of)))) for each in PACKING.tensors]


@given(st.lists(st.tuples(sizes, st.integers(1, 3)), min_size=1, max_size=6))
def test_what_is_packed_and_joined_comes_out_again(requests: list[tuple[dict[str, int], int]]) -> None:
    blocks = [request(of, rows, seed) for seed, (of, rows) in enumerate(requests)]
    joined = join([PACKING.pack(each, of, "float64") for each, (of, _) in zip(blocks, requests, strict=True)])
    owners = np.repeat(np.arange(len(requests)), [rows for _, rows in requests])
    seen: list[int] = []
    for which, of in PACKING.groups(joined):
        for place, number in zip(PACKING.places(of), range(len(PACKING.tensors)), strict=True):
            assert place.shape == shape_in(PACKING.tensors[number].shape, of)
            for row in which:
                owner = owners[row]
                assert requests[owner][0] == of
                within = row - np.flatnonzero(owners == owner)[0]
                np.testing.assert_array_equal(joined[row, place.start : place.stop], blocks[owner][number][within])
        seen += which.tolist()
    assert sorted(seen) == list(range(len(joined)))


@given(sizes)
def test_the_width_of_a_row_is_its_sizes_and_its_values(of: dict[str, int]) -> None:
    row = PACKING.pack(request(of, 1, 0), of, "float32")
    assert row.shape == (1, 3 + 3 * of["height"] * of["width"] + of["length"] + 1) == (1, PACKING.width(of))


def test_rows_of_one_width_are_not_copied_one_by_one() -> None:
    rows = np.ones((2, 3))
    assert join([rows]) is rows
    np.testing.assert_array_equal(join([rows, rows * 2]), np.concatenate([rows, rows * 2]))


def test_the_narrower_one_is_filled_with_zeros() -> None:
    narrow, wide = of_one_width(np.ones((1, 2)), np.ones((2, 4)))
    assert narrow.tolist() == [[1, 1, 0, 0]]
    assert wide.tolist() == [[1] * 4] * 2
