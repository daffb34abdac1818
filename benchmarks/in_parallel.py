"""Work that takes no measurements, spread over the CPUs: simulations, whose time does not matter."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import cpu_count
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_parallel(work: Callable[..., Result], plans: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
    """Yield what ``work`` returns for each of ``plans``, its arguments, in their order. Says on stderr how many are
    done."""
    with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
        for done, task in enumerate([pool.submit(work, *plan) for plan in plans], start=1):
            yield task.result()
            print(f"{done} of {len(plans)}", file=sys.stderr, flush=True)
