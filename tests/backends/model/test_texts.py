"""Texts in rows of numbers: whatever a text holds comes out again, beside numbers and beside texts of other lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.backends.model import Input
from servefit.backends.model.packing import Packing, join
from servefit.backends.model.texts import TEXT, TEXT_SIZE, decoded, encoded

CITY = Input(name="city", datatype=TEXT, shape=(), start=0, stop=0)
AGE = Input(name="age", datatype="float32", shape=(), start=0, stop=0)
TOKENS = Input(name="tokens", datatype=TEXT, shape=("length",), start=0, stop=0)
COLUMNS = Packing((CITY, AGE), (TEXT_SIZE,))
SIZED = Packing((TOKENS, AGE), ("length", TEXT_SIZE))

texts = st.none() | st.text()


def objects(values: list[str | None]) -> np.ndarray:
    array = np.empty((len(values), 1), dtype=object)
    array[:, 0] = values
    return array


@given(st.lists(texts, max_size=5))
def test_what_is_encoded_is_decoded(values: list[str | None]) -> None:
    content = np.frombuffer(encoded(values), np.uint8).astype(np.float32)
    assert decoded(content, len(values)) == values


@given(st.lists(st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=4))
def test_texts_of_any_lengths_come_out_of_one_group(parts: list[list[str | None]]) -> None:
    packed = [COLUMNS.pack([objects(part), np.ones((len(part), 1))], {}, "float32") for part in parts]
    joined = join(packed)
    ((which, sizes),) = COLUMNS.groups(joined)
    assert which.tolist() == list(range(len(joined)))
    cities, ages = COLUMNS.unpack(joined, sizes)
    assert cities.tolist() == [text for part in parts for text in part]
    assert ages.tolist() == [1.0] * len(joined)
    assert COLUMNS.widths(joined).max() == joined.shape[1]


@given(st.lists(st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=4))
@pytest.mark.usefixtures("in_this_process")
def test_other_sizes_still_tell_groups_apart(requests: list[list[str | None]]) -> None:
    rows = join(
        [
            SIZED.pack([objects(list(each)).reshape(1, -1), np.full((1, 1), nth)], {"length": len(each)}, "float64")
            for nth, each in enumerate(requests)
        ]
    )
    seen = {}
    for which, sizes in SIZED.groups(rows):
        tokens, ages = SIZED.unpack(rows[which], sizes)
        assert tokens.shape == (len(which), sizes["length"])
        seen.update({int(age): row.tolist() for age, row in zip(ages, tokens, strict=True)})
    assert seen == dict(enumerate(requests))


def test_a_row_of_zeros_holds_empty_texts() -> None:
    cities, ages = COLUMNS.unpack(np.zeros((2, 2), np.float32), {TEXT_SIZE: 0})
    assert cities.tolist() == ["", ""]
    assert ages.tolist() == [0, 0]


def test_half_of_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError):
        encoded(["\ud800"])
