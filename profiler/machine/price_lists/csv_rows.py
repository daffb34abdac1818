"""Rows of a CSV file, one after the other, in bounded memory: no line and no cell is longer than those of a price list
can be."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TextIO

from servefit.profiler.machine.price_lists.types import UnreadablePriceList

MAX_LINE_CHARACTERS = 2**16
"""The longest line. One of a price list has two thousand characters."""


def csv_rows(file: TextIO) -> Iterator[list[str]]:
    """Iterate over the rows of ``file``. Raises UnreadablePriceList for what is no CSV."""
    try:
        yield from csv.reader(_lines(file), strict=True)
    except csv.Error as error:
        raise UnreadablePriceList(f"is no CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise UnreadablePriceList("is not UTF-8 text") from error


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(MAX_LINE_CHARACTERS):
        if len(line) == MAX_LINE_CHARACTERS:
            raise UnreadablePriceList(
                f"has a line of more than {MAX_LINE_CHARACTERS:,} characters, as no price list has"
            )
        yield line
