"""The price of an instance."""

from __future__ import annotations

from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.request.space import Space
from servefit.search.results.price import Price, cheapest


def test_a_configuration_costs_what_the_cheapest_profile_that_may_have_it_does() -> None:
    configuration = Configuration(vcpus=2, backend="a")

    def profile(name: str, price_per_hour: float | None) -> InstanceProfile:
        return InstanceProfile(name=name, vcpus=2, memory_bytes=2**30, price_per_hour=price_per_hour)

    profiles = [profile("unpriced", None), profile("dear", 2.0), profile("cheap", 1.0)]
    elsewhere = profile("elsewhere", 0.1)
    space = Space(
        profiles=(*((each, frozenset([configuration])) for each in profiles), (elsewhere, frozenset())),
        grid=(configuration,),
    )
    assert cheapest(space, configuration) == Price(unpriced=False, per_hour=1.0)
