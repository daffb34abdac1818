"""The methods that work on this machine, processes that enter an envelope, and made-up machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from servefit.errors import MeasurementError
from servefit.profiler.machine.envelope.opening import available_methods, open_envelope

if TYPE_CHECKING:
    from servefit.backends.types import Availability
    from servefit.profiler.machine.envelope.types import Envelope, EnvelopeMethod

Enter = Callable[..., "subprocess.Popen[str]"]
IsRefused = Callable[["EnvelopeMethod"], bool]
MakeGroup = Callable[[Path, dict[str, str], dict[str, "str | None"]], Path]

JOIN = """
import os, sys
cpus = {int(cpu) for cpu in sys.argv[1].split(",")}
for file in filter(None, sys.argv[2].split(":")):
    with open(file, "w") as stream:
        stream.write(str(os.getpid()))
os.sched_setaffinity(0, cpus)
"""


@pytest.fixture(scope="session")
def availability() -> dict[EnvelopeMethod, Availability]:
    return dict(available_methods())


@pytest.fixture
def is_refused(availability: dict[EnvelopeMethod, Availability]) -> IsRefused:
    """Whether a method does not work here. Where it does not, opening such an envelope must say why not."""

    def is_refused(method: EnvelopeMethod) -> bool:
        found = availability[method]
        if found.available:
            assert found.reason is None
            return False
        assert found.reason
        with pytest.raises(MeasurementError) as caught, open_envelope([here()], None, method=method):
            pass
        assert caught.value.message == found.reason
        return True

    return is_refused


def here() -> int:
    """A CPU that this process may use; not the first, if there is another."""
    return max(os.sched_getaffinity(0))


@pytest.fixture
def enter() -> Iterator[Enter]:
    """Start Python code in an envelope, as workers are started. Its arguments from sys.argv[3] on are the caller's."""
    with ExitStack() as stack:

        def enter(envelope: Envelope, code: str, *arguments: str) -> subprocess.Popen[str]:
            cpus = ",".join(map(str, envelope.cpus))
            argv = [sys.executable, "-c", JOIN + code, cpus, ":".join(envelope.join_files), *arguments]
            child = subprocess.Popen(envelope.command(argv), stdout=subprocess.PIPE, text=True)
            stack.enter_context(child)
            stack.callback(child.kill)
            return child

        yield enter


@pytest.fixture
def make_group(monkeypatch: pytest.MonkeyPatch) -> MakeGroup:
    """A folder that stands for a control group.

    It holds ``files``. A group made in it holds ``new_group``, as if the kernel had made it, and can be removed as a
    whole. None as the content of an effective value stands for whatever is written.
    """
    new: dict[str, str | None] = {}
    really_make = Path.mkdir

    def make(folder: Path, *arguments: Any, **options: Any) -> None:
        really_make(folder, *arguments, **options)
        if folder.name.startswith("servefit-"):
            fill(folder, new)

    def fill(folder: Path, files: dict[str, str | None]) -> None:
        for name, content in files.items():
            target = EFFECTIVE.get(name)
            if content is None and target is not None:
                (folder / name).symlink_to(folder / target)
            else:
                (folder / name).write_text(content or "")

    def make_group(folder: Path, files: dict[str, str], new_group: dict[str, str | None]) -> Path:
        really_make(folder, parents=True, exist_ok=True)
        fill(folder, dict(files))
        new.clear()
        new.update(new_group)
        return folder

    monkeypatch.setattr(Path, "mkdir", make)
    monkeypatch.setattr(Path, "rmdir", shutil.rmtree)
    return make_group


EFFECTIVE = {
    "cpuset.cpus.effective": "cpuset.cpus",
    "cpuset.effective_cpus": "cpuset.cpus",
}
