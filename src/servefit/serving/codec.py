"""``python -P -m servefit.serving.codec N``: does a worker's tasks, one at a time, which come on the socket that is
descriptor N. ``codec_process`` is this process as the worker sees it, ``codec_client`` the queue of what it has done
here, and ``codec_tasks`` what passes between them."""

from __future__ import annotations

import ctypes
import gc
import pickle
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.processes import die_with_parent
from servefit.serving.codec_tasks import LENGTHS, CodecReady, RefusedTask, frame
from servefit.serving.messages import Refused

if TYPE_CHECKING:
    from servefit.serving.codec_tasks import CodecTask, Content, TaskResult
    from servefit.serving.config import EndpointConfig, Limits

_MEMORY_A_BODY = 40
"""Bytes of memory for a byte of a body: a gigabyte for the longest body (ADR 8). Cells and lists of them are
objects."""

_MIN_MEMORY_BYTES = 2**28
"""For short limits, and what libraries take beside bodies."""

_MIB = 2**20
"""Bytes."""


def main() -> None:
    die_with_parent()
    worker = socket.socket(fileno=int(sys.argv[1]))
    try:
        libc = ctypes.CDLL(None)
        config, _ = _receive(worker)
        limit = _bound_memory(config.limits)
        # Tasks leave no cycles behind, but make millions of objects, which a collector would look at again and again.
        gc.collect()
        gc.freeze()
        gc.disable()
        worker.sendall(frame(CodecReady()))
        while True:
            answer, content = _answer(*_receive(worker), config, limit)
            worker.sendall(frame(answer, len(content)))
            worker.sendall(content)
            del answer, content
            gc.collect()
            libc.malloc_trim(0)  # glibc keeps hundreds of megabytes else
    except (EOFError, ConnectionError):
        return


def _answer(task: CodecTask, content: bytes, config: EndpointConfig, limit: str) -> tuple[TaskResult, Content]:
    # The system kills this process when its CPU time is up, whatever library it is in: nothing handles SIGPROF.
    signal.setitimer(signal.ITIMER_PROF, config.limits.read_timeout_s)
    try:
        return task.run(content, config)
    except Refused as refused:
        return RefusedTask.because(refused), b""
    except MemoryError:
        return RefusedTask.because(task.too_costly(limit)), b""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _bound_memory(limits: Limits) -> str:
    """Take no more memory than the longest body may need; return how much, in words."""
    more_bytes = _MIN_MEMORY_BYTES + _MEMORY_A_BODY * limits.body_bytes
    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes + more_bytes,) * 2)
    return f"{more_bytes // _MIB} MiB of memory"


def _receive(worker: socket.socket) -> tuple[Any, bytes]:
    length, content_bytes = LENGTHS.unpack(_exactly(worker, LENGTHS.size))
    return pickle.loads(_exactly(worker, length)), _exactly(worker, content_bytes)


def _exactly(worker: socket.socket, size: int) -> bytes:
    """Return the next ``size`` bytes. Raises EOFError where nobody sends any more."""
    content = worker.recv(size, socket.MSG_WAITALL) if size else b""
    while len(content) < size:
        more = worker.recv(size - len(content), socket.MSG_WAITALL)
        if not more:
            raise EOFError
        content += more
    return content


if __name__ == "__main__":
    main()
