"""``servefit agent``: this host in a fleet, in the foreground, until a signal says stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from servefit.cli.options import TrustOptions
from servefit.cli.output import print_line
from servefit.cli.signatures import option
from servefit.option_panels import MACHINE, OUTPUT
from servefit.search.fleet.launching.handover import READY

if TYPE_CHECKING:
    from servefit.search.fleet.agents.agent import Agent

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def agent(
    *,
    name: Annotated[str | None, option("Name of this host. Default: its host name.", MACHINE, "NAME")] = None,
    address: Annotated[
        str | None,
        option("Where a balancer reaches the endpoint of this host: 10.0.3.7, or 10.0.3.7:8000.", MACHINE, "ADDRESS"),
    ] = None,
    label: Annotated[list[str] | None, option("Label to choose this host by; repeat it.", MACHINE, "KEY=VALUE")] = None,
    cost: Annotated[
        str | None,
        option("What this host costs: per_hour=0.21, or capex=4200,years=4,watts=180.", MACHINE, "COST"),
    ] = None,
    idle_exit: Annotated[
        str | None, option("End after so long without an order. Default: never.", MACHINE, "120s")
    ] = None,
    allow_env: Annotated[
        list[str] | None,
        option(
            "Environment variable that jobs may set here, beside those that tune libraries; repeat it.",
            MACHINE,
            "VARIABLE",
        ),
    ] = None,
    trust: TrustOptions,
    storage: Annotated[
        str | None,
        option(
            "Database of the fleet, such as postgresql://user@server/jobs. Default: what SERVEFIT_STORAGE says.",
            OUTPUT,
            "URL",
            variable="SERVEFIT_STORAGE",
        ),
    ] = None,
) -> None:
    """Offer this host to the jobs of a fleet: carry out what they ask to have measured here, one at a time, until
    SIGTERM, SIGHUP or Ctrl-C.

    It listens nowhere, and asks the database for orders. A URL on a command line can be read by every user of the host:
    SERVEFIT_STORAGE cannot.

    Exit status: 0 after such an end, or --idle-exit; 2 where another agent has the name, or the database holds no
    fleet; 4 where the database cannot be reached at first.

    Example: servefit agent --storage postgresql://fleet@db.lan/servefit --name rack3-07 --label rack=3
    """
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.slot.holding import slot_state
    from servefit.quantities import parse_duration_s
    from servefit.search.fleet.agents.agent import Agent
    from servefit.search.fleet.classes.host_facts import host_facts
    from servefit.search.fleet.database import fleet_address
    from servefit.search.fleet.host import FleetHost
    from servefit.search.fleet.launching.agent_options import AgentOptions, parse_cost, parse_labels
    from servefit.search.fleet.tables import SCHEMA
    from servefit.search.request.job_request import check_variable
    from servefit.version import __version__

    for variable in allow_env or ():
        check_variable("allow_env", variable)
    options = AgentOptions(
        name=socket.gethostname() if name is None else name,
        address=address,
        labels=parse_labels("label", label or ()),
        cost={} if cost is None else parse_cost("cost", cost),
        idle_exit_s=None if idle_exit is None else parse_duration_s("idle_exit", idle_exit),
        **asdict(trust),
    )
    database = fleet_address(storage)
    slot_state()  # a host on which nothing can be measured is not offered
    host = describe_host()
    offered = FleetHost(
        name=options.name or "",
        host=host,
        facts=host_facts(host),
        address=options.address or "",
        labels=tuple(options.labels.items()),
        cost=tuple(options.cost.items()),
        **asdict(trust),
        allows=tuple(dict.fromkeys(allow_env or ())),
        servefit=__version__,
        schema=SCHEMA,
    )
    asyncio.run(_run(Agent(address=database, host=offered, idle_exit_s=options.idle_exit_s)))


async def _run(agent: Agent) -> None:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        # nohup has it ignored
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, agent.stop)
    ready = READY.format(name=agent.host.name)
    await agent.run(ready=lambda: print_line(f"{ready} ({agent.address.shown})"))
