"""Agents of hosts that are imitated on this machine, each in a state folder of its own. They share a measuring slot:
orders are carried out in turns, so that no imitated host is in the way of another."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.imitated.imitated_backend import VARIABLE

_ENTRY_POINT = "[servefit.backends]\nimitated = benchmarks.imitated.imitated_backend:ImitatedBackend\n"


def environment(folder: Path, milliseconds: float) -> dict[str, str]:
    """Return the environment of a host whose requests take so long; what it has installed goes to ``folder``.

    It has a library of a version of its own: hosts are of one class where the same is installed, and calls of the
    model's own library, by which classes are told besides, are not imitated."""
    for name, text in (("imitated", _ENTRY_POINT), ("daal4py", "")):
        described = folder / f"{name}-1.0.dist-info"
        described.mkdir(parents=True, exist_ok=True)
        version = "1.0" if name == "imitated" else f"{milliseconds:g}"
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (described / "entry_points.txt").write_text(text)
    slot = folder.parent / "slot"
    slot.mkdir(exist_ok=True)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[2])]),
        "SERVEFIT_HOME": str(folder / "state"),
        "SERVEFIT_SLOT": str(slot),
        VARIABLE: f"{milliseconds:g}",
    }


@contextmanager
def agents(storage: str, hosts: Mapping[str, tuple[float, float]]) -> Iterator[Mapping[str, dict[str, str]]]:
    """Run ``servefit agent`` for each of ``hosts``, which have the milliseconds of a request and a cost per hour by
    name, and give the environment of each."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environments = {name: environment(folder / name, ms) for name, (ms, _) in hosts.items()}
        for name, (_, cost) in hosts.items():
            command = [sys.executable, "-m", "servefit", "agent", "--name", name, "--cost", f"per_hour={cost:g}"]
            process = stack.enter_context(
                subprocess.Popen(
                    command, env={**environments[name], "SERVEFIT_STORAGE": storage}, stdout=subprocess.PIPE
                )
            )
            stack.callback(process.terminate)
            assert process.stdout is not None
            if not process.stdout.readline():
                raise SystemExit(f"the agent of {name} does not start")
        yield environments
