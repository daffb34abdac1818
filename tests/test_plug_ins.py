"""Plug-ins are found by name, servefit's own and those of other packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.installed_packages import write_package

from servefit.errors import SpecError
from servefit.plug_ins import PlugIns

Install = Callable[..., None]

SHAPES = PlugIns(field="shape", group="tests.shapes", built_in={"round": "collections:OrderedDict"})


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make an installed package that offers a shape called ``name``."""

    def install(package: str, name: str, source: str = "class Shape: pass") -> None:
        folder = tmp_path / package
        target = f"{package}_shapes:Shape"
        write_package(folder, package, group="tests.shapes", name=name, target=target, source=source)
        monkeypatch.syspath_prepend(str(folder))

    return install


def test_names_are_the_built_in_ones_and_then_those_of_other_packages(install: Install) -> None:
    install("left", "square")
    install("right", "oval")
    assert SHAPES.names() == ("round", "oval", "square")
    assert SHAPES.imported("square").__module__ == "left_shapes"


def test_an_unknown_name_is_refused_with_the_closest_one() -> None:
    with pytest.raises(SpecError, match="shape: 'roud' is not known; did you mean 'round'"):
        SHAPES.imported("roud")


def test_another_package_cannot_take_over_a_built_in_name(install: Install) -> None:
    install("left", "round")
    assert SHAPES.names() == ("round",)
    assert SHAPES.imported("round").__module__ == "collections"


def test_a_package_with_a_built_in_name_is_warned_of_once(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("loud", "round")
    for _ in range(2):
        assert SHAPES.package_of("round") == "servefit"
        SHAPES.names()
    [warning] = caplog.messages
    assert warning.startswith("the entry points of loud 1.0, installed in ")
    assert warning.endswith("offer the shape 'round', which is ignored: servefit has one of that name")


def test_a_name_that_two_packages_offer_is_refused_with_both(install: Install) -> None:
    install("left", "square")
    install("right", "square")
    with pytest.raises(SpecError, match=r"is offered by left 1\.0 and right 1\.0; uninstall all but one"):
        SHAPES.imported("square")


def test_a_package_that_cannot_be_imported_is_named(install: Install) -> None:
    install("broken", "square", "1 / 0")
    with pytest.raises(SpecError, match=r"cannot be imported from broken 1\.0: ZeroDivisionError.*uninstall broken"):
        SHAPES.imported("square")


def test_a_package_that_ends_python_when_it_is_imported_ends_nothing_else(install: Install) -> None:
    install("quitting", "square", "import sys; sys.exit()")
    with pytest.raises(SpecError, match=r"cannot be imported from quitting 1\.0: it ended Python.*uninstall quitting"):
        SHAPES.imported("square")


def test_whether_packages_may_offer_anything_is_seen_without_reading_what(install: Install, tmp_path: Path) -> None:
    assert not SHAPES.may_be_offered()
    install("left", "square")
    assert SHAPES.may_be_offered()


def test_a_path_with_archives_and_missing_folders_is_looked_through(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("left", "square")
    (tmp_path / "archive.zip").write_bytes(b"")
    for name in ("archive.zip", "missing"):
        monkeypatch.syspath_prepend(str(tmp_path / name))
    assert SHAPES.may_be_offered()
