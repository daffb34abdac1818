"""How figures are written for people and for programs."""

from __future__ import annotations

import io
from typing import Any

import pytest

from servefit.report.table import Estimate, Table, cell_text, markdown_lines, readable, write_csv


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (1234567, "1,234,567"),
        (1234.5, "1,230"),
        (999.96, "1,000"),
        (12.34567, "12.3"),
        (0.0, "0"),
        (0.000123456, "0.000123"),
        (6.169e-05, "0.0000617"),
        (-6.1e-07, "-0.00000061"),
        (float("nan"), "nan"),
        ("forest", "forest"),
    ],
)
def test_a_cell_has_three_digits_and_no_exponent(cell: Any, text: str) -> None:
    assert cell_text(cell) == text


def test_columns_of_latencies_have_the_unit_that_fits_most_of_them() -> None:
    table = Table(columns=("profile", "p50 ms", "p95 ms"), rows=[("one", 0.03073, 0.05926), ("other", 1.012, None)])
    shown = readable(table)
    assert shown.columns == ("profile", "p50 us", "p95 us")
    assert shown.rows == [("one", "30.7", "59.3"), ("other", "1,010", "-")]
    assert next(markdown_lines(shown)) == "| profile | p50 us | p95 us |"
    slow = readable(Table(columns=("p95 ms", "seconds"), rows=[(4500.0, 12.0), (1200.0, 0.5)]))
    assert (slow.columns, slow.rows) == (("p95 s", "seconds"), [("4.5", "12"), ("1.2", "0.5")])
    assert readable(Table(columns=("p95 ms",), rows=[(None,)])).columns == ("p95 ms",)


def test_a_column_has_as_many_digits_as_it_is_declared_with() -> None:
    table = Table(columns=("ratio", "p95 ms"), rows=[(1.23456, 0.0123456), (1234, None)], digits=(2, 4))
    assert readable(table).rows == [("1.2", "12.35"), ("1,234", "-")]
    assert list(markdown_lines(table))[2] == "| 1.2 | 0.01235 |"
    written = io.StringIO()
    write_csv(table, written)
    assert written.getvalue().splitlines()[1] == "1.23456,0.0123456"


def test_in_a_list_of_figures_each_time_has_its_own_unit() -> None:
    table = Table(
        columns=("figure", "value"),
        rows=[
            ["latency p50 ms", Estimate(value=0.05926, interval=(0.0501, 0.0702))],
            ["latency p99 ms", Estimate(value=1203.4)],
            ["service mean us", 0.3127],
            ["latency p99.9 ms", None],
            ["throughput per s", 39512.3],
            ["b / a", Estimate(value=1.0213, interval=(0.9512, 1.0934))],
            ["latency p95 ms", Estimate(value=0.06, interval=(0.0141, 0.1043))],
            ["limit per s", Estimate(value=2000.0, interval=(0.0, 3412.0))],
        ],
    )
    assert readable(table).rows == [
        ("latency p50", "59 us (50 us to 70 us)"),
        ("latency p99", "1.2 s"),
        ("service mean", "0.313 us"),
        ("latency p99.9", "-"),
        ("throughput per s", "39,500"),
        ("b / a", "1.02 (0.95 to 1.09)"),
        ("latency p95", "between 14.1 us and 104 us"),
        ("limit per s", "between 0 and 3,410"),
    ]


def test_programs_are_given_the_same_digits_and_names_whatever_people_read() -> None:
    written = io.StringIO()
    rows = [["latency p50 ms", Estimate(value=0.05926, interval=(0.05, 0.07))], ["throughput per s", 39512.3]]
    write_csv(Table(columns=("figure", "value"), rows=rows), written)
    assert written.getvalue() == "figure,value\nlatency p50 ms,0.05926  (0.05 to 0.07)\nthroughput per s,39512.3\n"
