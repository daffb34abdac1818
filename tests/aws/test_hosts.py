"""Endpoints that are deleted, or whose server ends, while their processes are begun: none is left behind."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from servefit.aws.endpoints import hosts as hosts_module
from servefit.aws.endpoints.commands import Serving
from servefit.aws.endpoints.hosts import KIND, EndpointHosts
from servefit.aws.state.resources import Resources
from servefit.processes import processes_with_variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

VARIABLE = "ENDPOINT_OF_A_TEST"


class Interrupted(Resources):
    """Has something done when a process was begun, before that is kept."""

    interrupt: Callable[[], None]

    def change(self, *arguments: Any) -> Any:
        self.interrupt()
        return super().change(*arguments)


@pytest.fixture
def resources(tmp_path: Path) -> Iterator[Interrupted]:
    resources = Interrupted(tmp_path / "resources.db")
    resources.interrupt = lambda: None
    resources.add(KIND, "short", {"Served": {"model": "m.ubj", "profile": "local-1c", "environment": {}}})
    yield resources
    resources.close()


@pytest.mark.parametrize("when", ["before it is begun", "after it was begun"])
@pytest.mark.parametrize("how", ["it is deleted", "the server ends"])
def test_an_endpoint_that_is_ended_while_it_is_begun_leaves_no_process(
    resources: Interrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, how: str
) -> None:
    hosts, asked = EndpointHosts(resources, tmp_path / "endpoints"), threading.Event()

    def end() -> None:
        if how == "the server ends":
            hosts.close()
        else:
            hosts.end("short")
            resources.remove(KIND, "short")

    def command(*_: Any, **__: Any) -> Serving:
        asked.set()
        if when == "before it is begun":
            end()
        return Serving(arguments=["sleep", "60"], environment={VARIABLE: str(tmp_path)})

    monkeypatch.setattr(hosts_module, "serving_command", command)
    if when == "after it was begun":
        resources.interrupt = end
    hosts.start()
    assert asked.wait(20)
    for thread in threading.enumerate():
        if thread.name == "endpoint short":
            thread.join(20)
            assert not thread.is_alive()
    assert processes_with_variable(VARIABLE, str(tmp_path).__eq__) == []
    hosts.close()
