"""``python -m tests.serving.fuzz_bodies [SECONDS]`` decodes new bodies until the time is up, and prefers slow ones.

A body that fails is printed as small as it can be made, and tried first the next time.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings, target
from hypothesis.database import DirectoryBasedExampleDatabase
from tests.serving.any_bodies import AnyBody, any_bodies, decode

SECONDS = 60.0
FOUND = Path(__file__).parents[2] / "build" / "fuzz_bodies"
MAX_MEMORY_BYTES = 4 * 2**30


def main() -> None:
    until_s = time.monotonic() + (float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    tried = 0
    slowest = (0.0, "")

    @given(body=any_bodies())
    @settings(
        max_examples=500,
        deadline=None,
        database=DirectoryBasedExampleDatabase(FOUND),
        suppress_health_check=list(HealthCheck),
    )
    def fuzz(body: AnyBody) -> None:
        nonlocal tried, slowest
        if time.monotonic() > until_s:
            return
        decoded = decode(body.request())
        assert decoded.broken_promises() == []
        tried += 1
        slowest = max(slowest, (decoded.s_a_byte, repr(body)))
        target(decoded.s_a_byte)

    while time.monotonic() < until_s:
        fuzz()
    print(f"fuzz_bodies: {tried} bodies; the slowest took {1e6 * slowest[0]:.2f} us a byte: {slowest[1]}")


if __name__ == "__main__":
    main()
