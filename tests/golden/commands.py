"""The commands that ``make`` carries out, all in one folder and with one state folder, and what it writes of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from tests.golden.cases import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMMAND = (sys.executable, "-m", "servefit")
WORK = Path(ROOT)
HOME = WORK / "home"

LONGEST_S = 300
"""No command takes nearly as long."""

PORT = "8765"


def variables(packages: Path | None = None) -> Mapping[str, str]:
    """The environment of a command, with ``packages`` installed if they are given."""
    own = {} if packages is None else {"PYTHONPATH": str(packages)}
    return {**os.environ, "SERVEFIT_HOME": str(HOME), **own}


def servefit(*arguments: str | Path, packages: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Carry a command out, and print how it ended: an SLA may well be unmet here."""
    print("servefit", *arguments, flush=True)
    ended = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
        cwd=WORK,
        env=variables(packages),
    )
    print("  ended with", ended.returncode, *ended.stderr.splitlines()[-1:], flush=True)
    return ended


def printed(*arguments: str | Path, packages: Path | None = None) -> Any:
    """The JSON document that a command prints."""
    return json.loads(servefit(*arguments, "--format", "json", packages=packages).stdout)


def interrupt(arguments: tuple[str | Path, ...], number: signal.Signals) -> None:
    """Begin a job, and end it by a signal in its second test."""
    print("servefit", *arguments, number.name, flush=True)
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=WORK,
        env=variables(),
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "(2 of " in line:
                break
        time.sleep(0.5)  # workers have been started
        process.send_signal(number)
        process.stderr.read()
    print("  ended with", process.returncode, flush=True)


@contextmanager
def busy_cpus() -> Iterator[None]:
    """Have a process on every CPU that wants all of it."""
    with ExitStack() as stack:
        for _ in os.sched_getaffinity(0):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        yield


@contextmanager
def endpoint(model: Path) -> Iterator[str]:
    """An endpoint of ``model``, until the block ends; gives its URL."""
    with _listening(*COMMAND, "serve", "--model", str(model), "--quiet") as url:
        yield url


@contextmanager
def described_endpoint(description: Path) -> Iterator[str]:
    """The endpoint that a file describes, as the ``run`` of a bundle starts it; gives its URL."""
    with _listening(sys.executable, "-P", "-m", "servefit.serving", str(description)) as url:
        yield url


@contextmanager
def _listening(*arguments: str) -> Iterator[str]:
    url = f"http://127.0.0.1:{PORT}"
    with subprocess.Popen([*arguments, "--port", PORT], env=variables(), cwd=WORK) as process:
        try:
            _wait_for(url)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            with urlopen(f"{url}/ping"):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


def write(document: Any, *names: str) -> None:
    """Write ``document`` compactly, below the folder of the set: it is for programs."""
    path = WORK.joinpath(*names).with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
