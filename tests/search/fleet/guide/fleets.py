"""Fleets of tables: each class of hosts is a bench on which figures are looked up, and all are searched together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.search.optimizer.search.conftest import Table, space_of

from servefit.search.fleet.guide.class_guide import ClassGuide
from servefit.search.fleet.guide.fleet_guide import FleetGuide
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.optimizer.search import Search
from servefit.search.results.instances import PLANNED_UTILISATION
from servefit.search.storage.header import PlanRequest

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Trial

Checked = Callable[["Configuration", float, str], "Trial | None"]


@dataclass
class Fleet:
    """Classes of hosts, each so many times ``slower`` than the first, with so many ``hosts``."""

    request: JobRequest
    make_trial: MakeTrial
    slower: Mapping[str, float]
    hosts: Mapping[str, int]
    wanted: PlanRequest = field(default_factory=PlanRequest)
    costs: Mapping[str, float] | None = None
    seed: int = 0
    sizes: Sequence[int] = (1, 4)
    kind: type[Table] = Table
    check: Checked | None = None
    stopped: Callable[[], bool] = lambda: False
    tables: dict[str, Table] = field(init=False)
    guides: dict[str, ClassGuide] = field(init=False)
    unlike: dict[str, str] = field(default_factory=dict)
    checked: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.request.sla.rate_per_s is not None
        self.guide = FleetGuide(
            rate_per_s=self.request.sla.rate_per_s,
            wanted=self.wanted,
            hosts={name: tuple(f"{name}-{nth:02}" for nth in range(count)) for name, count in self.hosts.items()},
            costs=self.costs or dict.fromkeys(self.hosts, 1.0),
        )
        self.tables = {name: self.table(name) for name in self.hosts}
        self.guides = {
            name: ClassGuide(
                host_class=name,
                fleet=self.guide,
                check=self._check,
                stopped=self.stopped,
                unlike=self.unlike,
            )
            for name in self.hosts
        }

    def table(self, name: str) -> Table:
        return self.kind(
            request=self.request,
            seed=self.seed,
            space=space_of(self.sizes, (4,)),
            make_trial=self.make_trial,
            slower=self.slower[name],
        )

    def search(self) -> dict[str, Search]:
        """Search all classes to their ends."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            searches = {name: self.search_of(table, guide=self.guides[name]) for name, table in self.tables.items()}
            # What one raises keeps none of the others from running.
            running = [pool.submit(self._carry_out, each) for each in searches.items()]
        for each in running:
            each.result()
        return searches

    @staticmethod
    def search_of(table: Table, guide: ClassGuide | None = None) -> Search:
        known = {} if guide is None else {"guide": guide}
        return Search(
            space=table.space,
            request=table.request,
            reference="reference",
            clock=table.clock,
            bench=table,
            progress=SilentProgress(),
            **known,  # type: ignore[arg-type]
        )

    @property
    def tests(self) -> int:
        """All load tests of all classes."""
        return sum(len(table.measured) for table in self.tables.values())

    def tests_of(self, name: str) -> int:
        """The load tests of a class."""
        return len(self.tables[name].measured)

    def confirmed(self) -> dict[str, float]:
        """The rates at which the winners of classes were confirmed."""
        return {
            name: max(guide.confirmed_per_s.values()) for name, guide in self.guides.items() if guide.confirmed_per_s
        }

    def most_per_s(self, name: str) -> float:
        """In truth, the rate that a host of a class may be planned for at most, without limits."""
        table = self.tables[name]
        return PLANNED_UTILISATION * max(map(table.capacity_per_s, table.space.grid))

    def _carry_out(self, named: tuple[str, Search]) -> None:
        name, search = named
        try:
            search.carry_out()
        finally:
            self.guide.ended(name)

    def _check(self, configuration: Configuration, rate_per_s: float, host: str) -> Trial | None:
        self.checked.append((host, rate_per_s))
        if self.check is not None:
            return self.check(configuration, rate_per_s, host)
        name = host.rpartition("-")[0]
        found = self.tables[name]._test("confirmation", configuration, self.request.sla, only_per_s=rate_per_s)
        return None if found is None else replace(found)
