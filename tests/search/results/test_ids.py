"""The names of recommendations stay the same in later versions."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

from servefit.backends.types import Settings, Target
from servefit.profiler.record.types import Configuration
from servefit.search.results.ids import canonical, former_id, recommendation_id
from servefit.stored import Stored

TEXT = st.text(st.characters(codec="utf-8"), max_size=90)
CONFIGURATIONS = st.builds(
    Configuration,
    vcpus=st.integers(1, 64),
    backend=st.sampled_from(["xgboost", "onnxruntime"]) | TEXT,
    target=st.sampled_from(Target),
    settings=st.builds(
        Settings,
        threads=st.integers(1, 64),
        options=st.lists(st.tuples(TEXT, st.integers() | st.booleans() | TEXT), max_size=10).map(tuple),
    ),
    workers=st.integers(1, 64),
    max_batch=st.integers(1, 512),
    batch_delay_us=st.integers(0, 10_000),
    environment=st.lists(st.tuples(TEXT, TEXT), max_size=10).map(tuple),
    gpu=st.none() | st.integers(0, 7),
)


class Wider(Configuration, frozen=True, kw_only=True):
    """A configuration of a later version."""

    pinned: bool = False


def test_a_name_is_what_it_was_when_it_was_first_computed() -> None:
    plain = Configuration(vcpus=2, backend="xgboost")
    assert canonical(plain) == {"backend": "xgboost", "vcpus": 2}
    assert recommendation_id("ml.m5.large", plain) == "e022f437"
    varied = Configuration(
        vcpus=2,
        backend="onnxruntime",
        settings=Settings(threads=2, options=(("spin", True),)),
        max_batch=8,
        environment=(("KIND", "a"),),
    )
    assert recommendation_id("local-1c", varied) == "ad21ac76"
    assert former_id("local-1c", varied) == "adc07ce2"


def test_what_differs_is_called_differently() -> None:
    plain = Configuration(vcpus=2, backend="xgboost")
    named = {
        recommendation_id(profile, configuration)
        for profile in ("a", "b")
        for configuration in (plain, _with_workers(plain, 2))
    }
    assert len(named) == 4


@settings(max_examples=examples(25, drawn=50), deadline=None)
@given(configuration=CONFIGURATIONS)
def test_a_field_that_is_added_changes_no_name(configuration: Configuration) -> None:
    held = {name: getattr(configuration, name) for name in configuration.__struct_fields__}
    wider = Wider(**held)
    assert isinstance(wider, Stored)
    assert recommendation_id("local-1c", wider) == recommendation_id("local-1c", configuration)
    assert former_id("local-1c", wider) == former_id("local-1c", configuration)
    assert recommendation_id("local-1c", Wider(**held, pinned=True)) != recommendation_id("local-1c", configuration)


@settings(max_examples=examples(60, drawn=300), deadline=None)
@given(configuration=CONFIGURATIONS)
def test_former_names_are_those_of_what_was_shown(configuration: Configuration) -> None:
    """As long as results are still shown as they were; the names of kept jobs are in tests/golden."""
    shown = repr(("local-1c", configuration))
    assert former_id("local-1c", configuration) == hashlib.sha256(shown.encode()).hexdigest()[:8]


def _with_workers(configuration: Configuration, workers: int) -> Configuration:
    return Configuration(vcpus=configuration.vcpus, backend=configuration.backend, workers=workers)
