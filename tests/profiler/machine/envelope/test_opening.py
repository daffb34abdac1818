"""Envelopes on this machine by every method that works here; the others give a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from servefit.errors import MeasurementError, SpecError
from servefit.processes import own_mark, process_start
from servefit.profiler.machine.envelope.opening import available_methods, open_envelope
from servefit.profiler.machine.envelope.owners import is_abandoned

if TYPE_CHECKING:
    from tests.profiler.machine.envelope.conftest import Enter, IsRefused

    from servefit.backends.types import Availability
    from servefit.profiler.machine.envelope.types import EnvelopeMethod

pytestmark = pytest.mark.timed

METHODS: tuple[EnvelopeMethod, ...] = ("cgroup-v2", "cgroup-v1", "systemd-scope", "affinity")
MIB = 2**20
NO_SUCH_CPU = 8000

every_method = pytest.mark.parametrize("method", METHODS)

WIDEN = """
from threading import Thread
masks = []
def widen():
    try:
        os.sched_setaffinity(0, range(os.cpu_count()))
    except OSError:
        pass
    masks.append(os.sched_getaffinity(0))
widen()
thread = Thread(target=widen)
thread.start()
thread.join()
print(*sorted(set().union(*masks)))
"""

REPIN = """
import onnxruntime
from onnx import TensorProto, helper
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 3
options.add_session_config_entry("session.intra_op_thread_affinities", f"1;{os.cpu_count()}")
options.log_severity_level = 4
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
threads = [int(thread) for thread in os.listdir("/proc/self/task")]
assert len(threads) >= 3
print(*sorted(set().union(*(os.sched_getaffinity(thread) for thread in threads))))
"""

HOG = """
held = []
for _ in range(512):
    held.append(b"x" * 2**20)
print(len(held))
"""

DAEMONISE = """
import time
if os.fork():
    os.wait()
    time.sleep(600)
os.setsid()
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(600)
"""

OWN = """
import subprocess, sys, time
from servefit.profiler.machine.envelope.opening import open_envelope
with open_envelope([int(sys.argv[1])], None, method=sys.argv[2]) as envelope:
    join = 'for file in "$@"; do echo $$ > "$file" || exit 1; done; echo $$; exec sleep 600'
    subprocess.Popen(envelope.command(["sh", "-c", join, "sh", *envelope.join_files]))
    time.sleep(600)
"""


def here() -> int:
    return max(os.sched_getaffinity(0))


def output(child: subprocess.Popen[str]) -> list[int]:
    printed, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    return [int(word) for word in printed.split()]


def first_number(child: subprocess.Popen[str]) -> int:
    assert child.stdout is not None
    return int(child.stdout.readline())


def groups_of_this_process() -> list[str]:
    return [
        folder
        for folder, _, _ in os.walk("/sys/fs/cgroup")
        if Path(folder).name.replace("_", "-").startswith("servefit-") and f"{os.getpid()}" in folder
    ]


def test_every_method_is_listed_best_first_and_pinning_always_works(
    availability: dict[EnvelopeMethod, Availability],
) -> None:
    assert tuple(availability) == METHODS
    assert availability["affinity"].available


def test_finding_out_what_works_leaves_nothing_behind() -> None:
    before = groups_of_this_process()
    assert available_methods()
    assert groups_of_this_process() == before == []


def test_the_best_method_that_works_is_taken(availability: dict[EnvelopeMethod, Availability]) -> None:
    with open_envelope([here()], 256 * MIB) as envelope:
        assert envelope.method == next(name for name in METHODS if availability[name].available)
        assert envelope.containment == ("uncontained" if envelope.method == "affinity" else "cgroup")
        assert envelope.memory_limit_bytes == (None if envelope.method == "affinity" else 256 * MIB)


@every_method
def test_a_process_cannot_widen_its_mask_unless_nothing_contains_it(
    method: EnvelopeMethod, is_refused: IsRefused, enter: Enter
) -> None:
    if is_refused(method):
        return
    with open_envelope([here()], None, method=method) as envelope:
        found = output(enter(envelope, WIDEN))
    if envelope.containment == "cgroup":
        assert found == [here()]
    else:
        assert set(found) >= os.sched_getaffinity(0)


@every_method
def test_threads_that_onnxruntime_pins_elsewhere_stay_inside(
    method: EnvelopeMethod, is_refused: IsRefused, enter: Enter
) -> None:
    if is_refused(method):
        return
    with open_envelope([here()], None, method=method) as envelope:
        found = output(enter(envelope, REPIN))
    assert here() in found
    assert found == [here()] or envelope.containment == "uncontained"


@every_method
def test_a_process_that_takes_too_much_memory_is_killed_and_counted(
    method: EnvelopeMethod, is_refused: IsRefused, enter: Enter
) -> None:
    if is_refused(method):
        return
    with open_envelope([here()], 128 * MIB, method=method) as envelope:
        assert envelope.oom_kills() == 0
        if envelope.memory_limit_bytes is None:
            assert envelope.containment == "uncontained"
            return
        neighbour = enter(envelope, "print(1, flush=True)\nimport time\ntime.sleep(600)")
        assert first_number(neighbour) == 1
        hog = enter(envelope, HOG)
        assert hog.wait(60) == -signal.SIGKILL
        assert envelope.oom_kills() == 1
        assert neighbour.poll() is None


@every_method
def test_a_daemonised_grandchild_is_gone_after_a_kill_and_after_the_end(
    method: EnvelopeMethod, is_refused: IsRefused, enter: Enter
) -> None:
    if is_refused(method):
        return
    with open_envelope([here()], None, method=method) as envelope:
        first = first_number(enter(envelope, DAEMONISE))
        assert process_start(first) is not None
        envelope.kill()
        assert process_start(first) is None
        second = first_number(enter(envelope, DAEMONISE))
        assert process_start(second) is not None
    assert process_start(second) is None


@every_method
def test_nothing_remains_when_the_block_raises(method: EnvelopeMethod, is_refused: IsRefused, enter: Enter) -> None:
    if is_refused(method):
        return
    found: list[int] = []

    def fail() -> None:
        with open_envelope([here()], 64 * MIB, method=method) as envelope:
            found.append(first_number(enter(envelope, DAEMONISE)))
            assert bool(groups_of_this_process()) == (envelope.containment == "cgroup")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [process_start(child) for child in found] == [None]
    assert groups_of_this_process() == []


@every_method
def test_what_a_killed_owner_left_is_swept_and_what_a_living_one_has_is_not(
    method: EnvelopeMethod, is_refused: IsRefused
) -> None:
    if is_refused(method):
        return
    owners = [
        subprocess.Popen([sys.executable, "-c", OWN, str(here()), method], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        killed, living = [first_number(owner) for owner in owners]
        owners[0].kill()
        owners[0].wait()
        assert process_start(killed) is not None
        with open_envelope([here()], None, method=method):
            assert process_start(killed) is None
            assert process_start(living) is not None
    finally:
        for owner in owners:
            owner.kill()
            owner.wait()
            assert owner.stdout is not None
            owner.stdout.close()
        # The second has been killed as well by now, so this sweeps what it left.
        with open_envelope([here()], None, method=method):
            assert process_start(living) is None
    assert [
        folder
        for folder, _, _ in os.walk("/sys/fs/cgroup")
        if any(f"-{owner.pid}-" in folder.replace("_", "-") for owner in owners)
    ] == []


@every_method
def test_two_envelopes_of_one_process_do_not_touch_each_other(
    method: EnvelopeMethod, is_refused: IsRefused, enter: Enter
) -> None:
    if is_refused(method):
        return
    with open_envelope([here()], None, method=method) as outer:
        child = first_number(enter(outer, DAEMONISE))
        with open_envelope([here()], None, method=method) as inner:
            assert (inner.join_files, inner.command([])) != (outer.join_files, outer.command([]))
        assert process_start(child) is not None


@every_method
def test_two_envelopes_are_told_apart_before_anything_has_entered_them(
    method: EnvelopeMethod, is_refused: IsRefused, enter: Enter
) -> None:
    if is_refused(method):
        return
    with ExitStack() as stack:
        first, second = (stack.enter_context(open_envelope([here()], None, method=method)) for _ in range(2))
        children = [first_number(enter(envelope, DAEMONISE)) for envelope in (first, second)]
        first.kill()
        assert [process_start(child) is None for child in children] == [True, False]


@every_method
def test_a_cpu_that_is_not_there_is_refused(method: EnvelopeMethod, is_refused: IsRefused) -> None:
    if is_refused(method):
        return
    with pytest.raises(MeasurementError, match=str(NO_SUCH_CPU)), open_envelope([NO_SUCH_CPU], None, method=method):
        pass
    with (
        pytest.raises(MeasurementError, match=str(NO_SUCH_CPU)),
        open_envelope([here(), NO_SUCH_CPU], None, method=method),
    ):
        pass
    assert groups_of_this_process() == []


def test_nonsense_is_refused_by_its_name() -> None:
    with pytest.raises(SpecError, match="cpus"), open_envelope([], None):
        pass
    with pytest.raises(SpecError, match="memory"), open_envelope([here()], 0):
        pass
    unknown = cast("EnvelopeMethod", "cgroup-v3")
    with pytest.raises(SpecError, match="did you mean 'cgroup-v"), open_envelope([here()], None, method=unknown):
        pass


def test_only_the_name_of_a_dead_owner_is_abandoned() -> None:
    boot, namespace, pid, start = own_mark().split("-")
    before = int(start) - 1
    assert not is_abandoned(f"servefit-{boot}-{namespace}-{pid}-{start}-0")
    assert is_abandoned(f"servefit-{boot}-{namespace}-{pid}-{before}-0"), "a process that had the same id before"
    assert not is_abandoned(f"servefit-{boot}-{int(namespace) + 1}-{pid}-{before}-0"), "of another container"
    assert not is_abandoned(f"servefit-00000000-{namespace}-{pid}-{before}-0"), "of another machine"
    assert not is_abandoned("servefit-notes")
    dead = subprocess.Popen(["true"])
    while process_start(dead.pid) is not None:
        time.sleep(0.001)
    assert is_abandoned(f"servefit-{boot}-{namespace}-{dead.pid}-{start}-0"), "a zombie is dead"
    dead.wait()
