"""Shapes of other packages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.shape_packages import shape_source

from servefit.errors import SpecError
from servefit.profiler.arrivals.registry import BUILT_IN, arrivals_named, shape_names

Install = Callable[..., None]


def test_servefits_own_come_first_and_then_those_of_packages(install: Install) -> None:
    install("crowds", "stampede")
    assert shape_names() == (*BUILT_IN, "stampede")
    shape = arrivals_named("stampede")
    assert shape.times_ns(rate_per_s=2, duration_s=2, seed=0).tolist() == [0, 500_000_000, 10**9, 1_500_000_000]


def test_a_name_that_two_packages_offer_is_refused_with_both(install: Install) -> None:
    install("left", "tide")
    install("right", "tide")
    with pytest.raises(SpecError, match=r"arrivals: 'tide' is offered by left 1\.0 and right 1\.0; uninstall all but"):
        arrivals_named("tide")


def test_a_name_of_servefit_cannot_be_taken_over(install: Install) -> None:
    install("left", "poisson")
    assert type(arrivals_named("poisson")).__module__ == "servefit.profiler.arrivals.poisson"


def test_what_a_package_offers_has_to_be_a_shape(install: Install) -> None:
    install("left", "nothing", "Shape = 5")
    with pytest.raises(SpecError, match="something that is no class of Arrivals"):
        arrivals_named("nothing")


def test_what_a_package_offers_has_to_have_the_name_that_it_is_offered_under(install: Install) -> None:
    install("left", "one_name", shape_source("another"))
    with pytest.raises(SpecError, match="leads to a class that calls itself another"):
        arrivals_named("one_name")


def test_a_class_that_lacks_a_method_is_refused(install: Install) -> None:
    install("left", "halfway", shape_source("halfway", describe=""))
    with pytest.raises(SpecError, match=r"cannot be made: .*abstract.*describe.*mend the class"):
        arrivals_named("halfway")


def test_a_field_that_is_no_parameter_is_refused(install: Install) -> None:
    install("left", "plain", shape_source("plain", more="height: int = 3"))
    with pytest.raises(SpecError, match="the field height is not declared with parameter"):
        arrivals_named("plain")
