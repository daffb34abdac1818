"""The environment variables that somebody else may set in the processes that open models: one list for all.

A variable can do more than tune: LD_PRELOAD, OPENSSL_CONF, OMP_TOOL_LIBRARIES and hundreds of others have a process
load code, and which they are depends on every library in it. So a request to the API, an order of a fleet, a job of a
shared database, a job file and the description of an endpoint may set only what is listed here. No value of these is a
path, and each is checked for what it is. What the user of a machine names himself, on his own command line or in its
environment, is ``allowed`` besides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from servefit.backends.variables.secret import Secret, is_hidden
from servefit.errors import SpecError

MAX_VALUE_CHARACTERS = 1024
"""As long as SageMaker lets the value of a variable be."""


@dataclass(frozen=True, slots=True)
class Values:
    """The values that a variable may have: ``pattern`` matches them, in any case, and ``text`` describes them."""

    pattern: str
    text: str

    def take(self, value: str) -> bool:
        return len(value) <= MAX_VALUE_CHARACTERS and bool(re.fullmatch(self.pattern, value, re.ASCII | re.IGNORECASE))


@dataclass(frozen=True, slots=True)
class AllowedVariable:
    """A variable that others may set, with the reason why it is worth setting."""

    values: Values
    reason: str


def one_of(*words: str) -> Values:
    return Values("|".join(words), f"one of {', '.join(words)}")


COUNT = Values(r"[1-9][0-9]{0,17}", "a whole number above zero")
NUMBER = Values(r"[0-9]{1,18}", "a whole number")
SWITCH = one_of("true", "false", "yes", "no", "on", "off", "1", "0")
_SIZE = Values(r"[0-9]{1,18} ?[bkmgt]?b?", "a size such as 16M")
_CPUS = Values(r"[0-9]{1,6}([-:, ][0-9]{1,6})*", "CPUs such as 0-3,8")
_PLACES = Values(r"[a-z_]+(\([0-9]+\))?|[{}0-9:,! -]+", "places such as cores or {0:4},{4:4}")
_SUBSETS = Values(r"[0-9a-z:@,~*&]+", "a part of the machine such as 2c,1t")
_AFFINITY = Values(r"[a-z0-9=,{}\[\]: -]+", "an affinity such as granularity=fine,compact,1,0")
_ISA = Values(r"[a-z0-9_]+", "the name of an instruction set")

ALLOWED: Mapping[str, AllowedVariable] = {
    # OpenMP, by its specification: xgboost, LightGBM, treelite's compiled trees, scikit-learn and oneDNN all use it.
    # OMP_TOOL_LIBRARIES, OMP_TOOL_VERBOSE_INIT and OMP_AFFINITY_FORMAT load libraries, write files, or print.
    "OMP_NUM_THREADS": AllowedVariable(COUNT, "threads of a worker"),
    "OMP_THREAD_LIMIT": AllowedVariable(COUNT, "most threads of a process, teams within teams included"),
    "OMP_WAIT_POLICY": AllowedVariable(one_of("active", "passive"), "whether threads that wait spin or sleep"),
    "OMP_DYNAMIC": AllowedVariable(SWITCH, "whether the runtime may take fewer threads"),
    "OMP_NESTED": AllowedVariable(SWITCH, "whether threads start teams of their own"),
    "OMP_MAX_ACTIVE_LEVELS": AllowedVariable(NUMBER, "the same, by depth"),
    "OMP_PROC_BIND": AllowedVariable(
        Values(
            r"(true|false|primary|master|close|spread)(,(primary|master|close|spread))*",
            "true, false, or a list of primary, master, close and spread",
        ),
        "whether threads stay on their CPUs",
    ),
    "OMP_PLACES": AllowedVariable(_PLACES, "CPUs of the threads"),
    "OMP_SCHEDULE": AllowedVariable(
        Values(
            r"((non)?monotonic:)?(static|dynamic|guided|auto)(,[0-9]{1,9})?", "a schedule such as dynamic or static,4"
        ),
        "how loops are split among threads",
    ),
    "OMP_STACKSIZE": AllowedVariable(_SIZE, "stacks of threads, which are memory of the instance"),
    "GOMP_CPU_AFFINITY": AllowedVariable(_CPUS, "CPUs of the threads, in GNU's runtime"),
    "GOMP_SPINCOUNT": AllowedVariable(
        Values(r"[0-9]{1,12}[kmgt]?|infinite|infinity", "a whole number or infinite"), "how long GNU's threads spin"
    ),
    "GOMP_STACKSIZE": AllowedVariable(_SIZE, "stacks of threads, in GNU's runtime"),
    "KMP_AFFINITY": AllowedVariable(_AFFINITY, "CPUs of the threads, in LLVM's and Intel's runtime"),
    "KMP_HW_SUBSET": AllowedVariable(_SUBSETS, "the part of the machine that LLVM's runtime uses"),
    "KMP_BLOCKTIME": AllowedVariable(
        Values(r"[0-9]{1,12}(us|ms|s)?|infinite", "a time such as 200ms, or infinite"),
        "how long LLVM's threads spin",
    ),
    "KMP_LIBRARY": AllowedVariable(one_of("serial", "turnaround", "throughput"), "the same, as a mode"),
    "KMP_STACKSIZE": AllowedVariable(_SIZE, "stacks of threads, in LLVM's runtime"),
    "KMP_USE_YIELD": AllowedVariable(one_of("0", "1", "2"), "whether threads that spin yield"),
    # Linear algebra and networks: numpy, scikit-learn, daal4py, ONNX Runtime's and PyTorch's kernels.
    "MKL_NUM_THREADS": AllowedVariable(COUNT, "threads of MKL"),
    "MKL_DYNAMIC": AllowedVariable(SWITCH, "whether MKL may take fewer threads"),
    "MKL_ENABLE_INSTRUCTIONS": AllowedVariable(_ISA, "the newest instructions that MKL uses"),
    "MKL_CBWR": AllowedVariable(Values(r"[a-z0-9_]+(,strict)?", "a branch such as AVX2,STRICT"), "MKL's code path"),
    "OPENBLAS_NUM_THREADS": AllowedVariable(COUNT, "threads of OpenBLAS"),
    "GOTO_NUM_THREADS": AllowedVariable(COUNT, "the same, by the older name"),
    "OPENBLAS_THREAD_TIMEOUT": AllowedVariable(NUMBER, "how long OpenBLAS's threads spin"),
    "OPENBLAS_CORETYPE": AllowedVariable(_ISA, "the CPU that OpenBLAS's kernels are for"),
    "BLIS_NUM_THREADS": AllowedVariable(COUNT, "threads of BLIS"),
    "BLIS_JC_NT": AllowedVariable(COUNT, "the same, for one of BLIS's loops"),
    "BLIS_IC_NT": AllowedVariable(COUNT, "the same, for one of BLIS's loops"),
    "BLIS_JR_NT": AllowedVariable(COUNT, "the same, for one of BLIS's loops"),
    "BLIS_IR_NT": AllowedVariable(COUNT, "the same, for one of BLIS's loops"),
    "NUMEXPR_NUM_THREADS": AllowedVariable(COUNT, "threads of numexpr, which pandas uses"),
    "NUMEXPR_MAX_THREADS": AllowedVariable(COUNT, "most threads of numexpr"),
    "ONEDNN_MAX_CPU_ISA": AllowedVariable(_ISA, "the newest instructions that oneDNN uses"),
    "DNNL_MAX_CPU_ISA": AllowedVariable(_ISA, "the same, by the older name"),
    "ONEDNN_CPU_ISA_HINTS": AllowedVariable(_ISA, "the width of oneDNN's vectors"),
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": AllowedVariable(NUMBER, "kernels that oneDNN keeps"),
    # glibc's allocator. Each is a number; GLIBC_TUNABLES, which holds them all, sets the dynamic linker too.
    "MALLOC_ARENA_MAX": AllowedVariable(NUMBER, "most heaps of a process"),
    "MALLOC_ARENA_TEST": AllowedVariable(NUMBER, "heaps that are made before their number is limited"),
    "MALLOC_MMAP_MAX_": AllowedVariable(NUMBER, "most allocations that get pages of their own"),
    "MALLOC_MMAP_THRESHOLD_": AllowedVariable(NUMBER, "size from which an allocation gets pages of its own"),
    "MALLOC_TOP_PAD_": AllowedVariable(NUMBER, "how much more is asked of the kernel at once"),
    "MALLOC_TRIM_THRESHOLD_": AllowedVariable(NUMBER, "how much free memory is kept"),
    # servefit reads it itself, as SageMaker's containers do; no process gets it.
    "MODEL_SERVER_WORKERS": AllowedVariable(COUNT, "workers of an endpoint"),
}
"""The knobs of the runtimes, by name."""


def check_variables(
    variables: Iterable[tuple[str, str]],
    allowed: Collection[str] = (),
    *,
    remedy: str,
    listed: Mapping[str, AllowedVariable] = ALLOWED,
) -> None:
    """Raise SpecError if a variable is neither ``allowed`` by name nor ``listed`` with a value that the list permits.
    ``remedy`` is a format with a place for the name. The value of a secret is checked only where this process holds
    it; starting a process requires it."""
    for name, value in variables:
        if name in allowed:
            continue
        if (variable := listed.get(name)) is None:
            raise SpecError(
                "env", name, "is not on the list of variables that others may set", remedy=remedy.format(name=name)
            )
        plain = value.value if isinstance(value, Secret) else value
        if not (is_hidden(value) and plain == value) and not variable.values.take(plain):
            raise SpecError("env", name, f"takes {variable.values.text}, and not what it is given")


def own_or_listed(environment: Iterable[tuple[str, str]], own: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the variables of a description: those that are listed with their values, the others with those of the
    ``own`` environment of the process that reads it, which has to have them. Raises SpecError."""
    variables = tuple(environment)
    check_variables(
        variables, own.keys() - ALLOWED.keys(), remedy="set {name} in the environment that the endpoint is started in"
    )
    return tuple((name, value if name in ALLOWED else own[name]) for name, value in variables)
