"""How figures are written for people."""

from __future__ import annotations

from typing import Any

import pytest

from servefit.report.table import cell_text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (1234567, "1,234,567"),
        (1234.5, "1,234"),
        (999.96, "1000"),
        (12.34567, "12.35"),
        (0.0, "0"),
        (0.000123456, "0.0001235"),
        (6.169e-05, "0.00006169"),
        (-6.1e-07, "-0.00000061"),
        (float("nan"), "nan"),
        ("forest", "forest"),
    ],
)
def test_a_cell_has_four_digits_and_no_exponent(cell: Any, text: str) -> None:
    assert cell_text(cell) == text
