"""Stored types: Structs that behave like dataclasses."""

from __future__ import annotations

import dataclasses
import importlib
import pickle
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

import servefit
from servefit.profiler.record.storage.documents import Misfit, from_document, to_document
from servefit.profiler.record.storage.schema import OtherSchema, Schema, remark
from servefit.stored import Stored, StoredMember, left_out
from servefit.version import __version__


class Point(Stored, frozen=True, kw_only=True):
    x: int
    y: int = 0
    notes: Mapping[str, int] = msgspec.field(default_factory=dict)


class Circle(StoredMember, frozen=True, kw_only=True, tag="circle"):
    centre: Point
    radius: float = 1.0


class Square(StoredMember, frozen=True, kw_only=True):
    side: float


class Drawing(Stored, frozen=True, kw_only=True):
    shape: Circle | Square | None = None


def kinds(of: type[Stored] = Stored) -> Iterator[type[Stored]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_functions_of_dataclasses_take_them() -> None:
    kind: Any = Point
    assert dataclasses.is_dataclass(kind)
    assert [field.name for field in dataclasses.fields(Point)] == ["x", "y", "notes"]
    assert dataclasses.replace(Point(x=1), y=2) == Point(x=1, y=2)
    circle = Circle(centre=Point(x=1, notes={"a": 1}))
    assert dataclasses.asdict(circle) == {"centre": {"x": 1, "y": 0, "notes": {"a": 1}}, "radius": 1.0}
    assert pickle.loads(pickle.dumps(circle)) == circle
    with pytest.raises(TypeError, match="x"):
        dataclasses.replace(Point(x=1), z=2)  # type: ignore[call-arg]


def test_no_default_is_a_dataclasses_field() -> None:
    """Which msgspec takes for the value."""
    for module in pkgutil.walk_packages(servefit.__path__, "servefit."):
        if module.name.split(".")[1] in ("backends", "profiler", "search", "serving") and "__main__" not in module.name:
            importlib.import_module(module.name)
    found = [kind for kind in kinds() if kind.__module__.startswith("servefit.")]
    assert len(found) > 30
    for kind in found:
        for default in kind.__struct_defaults__:
            assert not isinstance(default, dataclasses.Field), kind


def test_members_of_a_union_are_told_apart_by_their_tags() -> None:
    for shape, tag in ((Circle(centre=Point(x=1)), "circle"), (Square(side=2.0), "Square"), (None, None)):
        document = to_document(Drawing(shape=shape), Drawing, [])
        assert (document["shape"] and document["shape"]["@type"]) == tag
        assert from_document(document, Drawing, []).shape == shape
    with pytest.raises(Misfit, match="Hexagon"):
        from_document({"@type": "Drawing", "shape": {"@type": "Hexagon"}}, Drawing, [], "drawing", [])


def test_fields_that_nobody_knows_are_left_out_and_named() -> None:
    document = to_document(Drawing(shape=Circle(centre=Point(x=1))), Drawing, [])
    document["shape"]["centre"]["z"] = 3
    document["colour"] = "red"
    names: list[str] = []
    assert from_document(document, Drawing, [], "drawing", names).shape == Circle(centre=Point(x=1))
    assert names == ["drawing.colour", "drawing.shape.centre.z"]
    assert remark(names, "9.9") == (
        f"written by servefit 9.9: left out drawing.colour, drawing.shape.centre.z, "
        f"which servefit {__version__} does not know"
    )
    assert remark([], "9.9") is None
    assert "f3, f4 and 3 more," in (remark([f"f{each}" for each in range(8)], "9.9") or "")


def test_what_msgspec_left_out_is_named() -> None:
    document = {"x": 1, "z": 2, "notes": {"a": 1}}
    assert list(left_out(document, msgspec.to_builtins(msgspec.convert(document, Point)))) == ["z"]


def test_documents_of_schemas_before_are_upgraded_one_by_one() -> None:
    def renamed(document: dict[str, int]) -> dict[str, int]:
        return {"width": document["size"]}

    def doubled(document: dict[str, int]) -> dict[str, int]:
        return {"width": 2 * document["width"]}

    schema = Schema(number=5, upgrades=(renamed, doubled))
    assert schema.current({"size": 2}, 3, "0.1") == {"width": 4}
    assert schema.current({"width": 2}, 4, "0.2") == {"width": 4}
    assert schema.current({"width": 2}, 5, "0.3") == {"width": 2}


@pytest.mark.parametrize(
    ("number", "told", "remedy"),
    [
        (
            6,
            f"servefit 9.1, in schema 6; this is servefit {__version__}, which reads up to 5",
            "update servefit to 9.1",
        ),
        (
            3,
            f"servefit 9.1, in schema 3; this is servefit {__version__}, which reads 4 to 5",
            "read it with servefit 9.1",
        ),
        ("6", "in schema '6'", "read it with"),
        (True, "in schema True", "read it with"),
        (None, "in schema None", "read it with"),
    ],
)
def test_another_schema_is_refused_with_who_wrote_it(number: object, told: str, remedy: str) -> None:
    schema = Schema(number=5, upgrades=(lambda document: document,))
    with pytest.raises(OtherSchema) as refusal:
        schema.current({}, number, "9.1")
    assert told in refusal.value.message
    assert (refusal.value.remedy or "").startswith(remedy)
