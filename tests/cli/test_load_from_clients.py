"""``servefit load --from``: what it refuses. What clients do together is in tests/search/fleet/load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Servefit

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "client-*", "--rate", "9/s"), "storage is needed"),
        (("--from", "client-*"), "rate is needed"),
        (("--from", "client-*", "--sla", "p95=5ms"), "rate is needed"),
        (("--from", "client-*", "--users", "3"), "users: 3 is for one client"),
        (("--from", "client-*", "--rate", "9/s", "--phase", "users=2,duration=1s"), "phases are for one client"),
        (("--from", "client-*", "--stairs", "steps=2,users=2,duration=1s"), "phases are for one client"),
        (("--from", "client-*", "--rate", "9/s", "--arrivals", "constant"), "arrivals: 'constant' is for one client"),
        (("--from", "client-*", "--rate", "9/s", "--constant"), "arrivals: 'constant' is for one client"),
        (("--from", "client-*", "--rate", "9/s", "--save", "runs"), "samples stay on the hosts"),
        (("--from", "client-*", "--rate", "9/s", "--histogram", "a.hlog"), "samples stay on the hosts"),
        (("--from", "client-*", "--rate", "9/s", "--storage", "sqlite:///jobs.db"), "begins with postgresql://"),
        (("--from", "client-*", "--rate", "nan/s"), "rate"),
        (("--from", "client-*", "--rate", "-5/s"), "rate"),
        (("--from", "client-*", "--rate", "9/s", "--duration", "2d"), "duration"),
        (("--label", "rack", "--rate", "9/s"), "label"),
        (("--rate", "9/s", "--storage", "postgresql://db/servefit"), "add --from"),
    ],
)
def test_what_is_not_for_several_clients_is_refused(
    arguments: tuple[str, ...], said: str, servefit: Servefit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVEFIT_STORAGE", raising=False)
    ended = servefit("load", "http://127.0.0.1:9", *arguments)
    assert ended.status == 2
    assert said in " ".join(ended.stderr.split())
