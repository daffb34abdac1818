"""The names that ``import servefit`` offers are those that the reference page lists."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import servefit as sf
from servefit import errors

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(name for name in sf.__all__ if inspect.isfunction(getattr(sf, name)))


def test_every_name_can_be_had() -> None:
    assert [name for name in sf.__all__ if getattr(sf, name) is None] == []


def test_every_error_is_exported() -> None:
    raised = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }
    assert raised <= set(sf.__all__)
    assert all(getattr(sf, name) is getattr(errors, name) for name in raised)


def test_type_checkers_see_the_same_names_as_python() -> None:
    tree = ast.parse((ROOT / "src/servefit/__init__.py").read_text())
    seen = {name.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert seen - {None} == set(sf.__all__)


def test_the_page_about_python_lists_every_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    listed = re.findall(r"^::: servefit\.(?:errors\.)?(\w+)$", page, re.MULTILINE) + re.findall(r"`(\w+)`", page)
    assert set(sf.__all__) - {"__version__"} - set(listed) == set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_takes_gives_and_raises_with_an_example(name: str) -> None:
    said = inspect.getdoc(getattr(sf, name))
    assert said is not None
    assert [part for part in ("Args:", "Returns:", "Raises:", "Example:") if f"\n{part}\n" not in said] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'recomend'"):
        sf.recomend  # noqa: B018


@pytest.mark.parametrize("name", [name for name in sf.__all__ if inspect.isfunction(getattr(sf, name))])
def test_help_shows_no_object_without_a_name(name: str) -> None:
    assert " at 0x" not in str(inspect.signature(getattr(sf, name)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_shows_all_its_keywords_by_name(name: str) -> None:
    parameters = inspect.signature(getattr(sf, name)).parameters.values()
    assert [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.VAR_KEYWORD] == []


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"recommend"}))
def test_a_keyword_is_none_by_default_only_where_its_type_says_that_it_may(name: str) -> None:
    """Of recommend every option may be None, which is as if it were not given."""
    parameters = inspect.signature(getattr(sf, name)).parameters.values()
    annotations = {own.name: own.annotation for own in parameters if own.default is None and own.annotation != "Any"}
    assert [name for name, annotation in annotations.items() if not re.search(r"\bNone\b", annotation)] == []


def test_defaults_of_right_size_are_those_of_a_request() -> None:
    parameters = inspect.signature(sf.right_size).parameters
    usual = sf.JobRequest(name="usual")
    shared = [name for name in sf.JobRequest.__struct_fields__ if name in parameters]
    assert {"goal", "seed", "arrivals", "over_http"} < set(shared)
    said = {name: parameters[name].default for name in shared if parameters[name].default is not None}
    assert said == {name: getattr(usual, name) for name in said}


def test_options_of_recommend_are_the_keys_of_a_job_file() -> None:
    from servefit.api.recommend import JobOptions
    from servefit.search.request.config_schema import NO_OPTIONS, JobConfig

    options = set(JobConfig.__struct_encode_fields__) - NO_OPTIONS
    assert JobOptions.__annotations__.keys() == options
    parameters = inspect.signature(sf.recommend).parameters
    assert options <= parameters.keys()
    assert parameters["goal"].default == "cost"
    assert parameters["sla"].default is None
