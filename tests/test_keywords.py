"""Keywords of a function that a TypedDict declares are called and shown as if the function had them itself."""

from __future__ import annotations

import inspect
from typing import TypedDict, Unpack

import pytest

from servefit.keywords import part_of, with_keywords


class Sizes(TypedDict, total=False):
    rows: int
    columns: int | None


class Table(Sizes, total=False):
    title: str


@with_keywords(Table, {"rows": 1, "title": "", "pages": 9})
def table(kind: str, *, bold: bool = False, **options: Unpack[Table]) -> tuple[str, bool, Table]:
    """Return what it is given."""
    return kind, bold, options


def test_keywords_that_are_not_given_have_their_defaults() -> None:
    assert table("csv") == ("csv", False, {"rows": 1, "columns": None, "title": ""})
    assert table("csv", bold=True, rows=3) == ("csv", True, {"rows": 3, "columns": None, "title": ""})


def test_the_signature_names_each_with_its_type_and_its_default() -> None:
    assert str(inspect.signature(table)) == (
        "(kind: 'str', *, bold: 'bool' = False, rows: 'int' = 1, columns: 'int | None' = None, title: 'str' = '') "
        "-> 'tuple[str, bool, Table]'"
    )
    assert inspect.getdoc(table) == "Return what it is given."


def test_any_other_keyword_is_a_type_error_as_with_every_function() -> None:
    with pytest.raises(TypeError, match=r"^table\(\) got an unexpected keyword argument 'pages'$"):
        table("csv", pages=9)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'kind'"):
        table()  # type: ignore[call-arg]


def test_a_part_of_the_keywords_is_handed_on() -> None:
    assert part_of(table("csv", columns=2, title="x")[2], Sizes) == {"rows": 1, "columns": 2}
