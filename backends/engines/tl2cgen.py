"""Tree ensembles compiled to machine code: TL2cgen writes C, the C compiler of this host makes a shared library of it.

A small function of our own is compiled in with the trees. It takes rows as they are, so that a call costs two
microseconds around the trees instead of thirty.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.cpu import cpu_features
from servefit.backends.libraries.installed import installed, thread_counts
from servefit.backends.libraries.trees import (
    Outputs,
    WholeCategories,
    category_facts,
    output_facts,
    read_trees,
    readable,
)
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import CompileFailed
from servefit.isolation import STDERR_TAIL_CHARACTERS

if TYPE_CHECKING:
    from servefit.backends.model import Model

FLAGS = ("-O1", "-std=c99", "-fPIC", "-fopenmp")
"""-O3 takes a third longer on big ensembles, and the code is no faster: it is all branches."""
NODES_PER_UNIT = 2000
"""Larger files make the compiler slower per node, and take more memory."""
_MISSING_OF_32_BITS, _MISSING_OF_64_BITS = "int missing;", "int64_t missing;"
"""TL2cgen marks a missing value by 32 bits of its place, which a float64 that is a number may have too. 64 such bits
are no number."""
CORE_SECONDS_PER_NODE = 6e-4
"""Of gcc, on one core; roughly, to leave out what would eat a job's budget."""

_ENTRY = """#include "header.h"
void servefit_predict(const {rows}* rows, int64_t count, int threads, {type}* results) {{
  #pragma omp parallel for num_threads(threads) if(threads > 1) schedule(static)
  for (int64_t row = 0; row < count; ++row) {{
    const {rows}* values = rows + row * {features};
    {type}* result = results + row * N_TARGET * MAX_N_CLASS;
    union Entry entries[{features}];
    for (int column = 0; column < {features}; ++column) {{
      if (values[column] != values[column]) entries[column].missing = -1;
      else entries[column].fvalue = values[column];
    }}
    for (int output = 0; output < N_TARGET * MAX_N_CLASS; ++output) result[output] = 0;
    predict(entries, 0, result);
  }}
}}
"""


class TL2cgenBackend:
    """Serves tree ensembles of xgboost, LightGBM and scikit-learn; needs gcc, clang or what $CC names."""

    name = "tl2cgen"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("TL2cgen compiles for the CPU only")
        availability = installed("tl2cgen", remedy="pip install tl2cgen")
        if availability.available and compiler() is None:
            wanted = os.environ.get("CC")
            reason = f"$CC names {wanted!r}, which cannot be found" if wanted else "there is no C compiler"
            return Availability.no(reason, remedy="apt install gcc")
        return availability

    def supports(self, model: Model) -> Availability:
        if model.trees is not None and "multi_target" in model.trees.peculiarities:
            return Availability.no("TL2cgen gives every target the base score of the first")
        return readable(model)

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        nodes = 0 if model.trees is None else model.trees.nodes
        return 1.0 + nodes * CORE_SECONDS_PER_NODE / len(os.sched_getaffinity(0))

    def cache_key(self) -> str:
        return f"2 {' '.join(compiler() or ())} {' '.join(FLAGS)} {cpu_features()}"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        trees = read_trees(model, self.name)
        nodes = 0 if model.trees is None else model.trees.nodes
        with tempfile.TemporaryDirectory(dir=workdir, prefix="build-") as folder:
            build = Path(folder)
            rows = model.signature.row_datatype
            _write_sources(trees, build, rows, units=max(1, min(nodes // NODES_PER_UNIT, trees.num_tree)))
            _build(build, workdir / "model.so")
        return {**category_facts(model), **output_facts(model, trees), "type": trees.output_type, "rows": rows}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        return _Predictor(artifact.folder / "model.so", artifact.facts, settings.threads)


def compiler() -> tuple[str, ...] | None:
    """Return the command of the C compiler: what $CC says, else gcc, clang or cc. None where it cannot be found."""
    wanted = os.environ.get("CC")
    commands = [shlex.split(wanted)] if wanted else [["gcc"], ["clang"], ["cc"]]
    for command in commands:
        if command and (path := shutil.which(command[0])):
            return (path, *command[1:])
    return None


def _write_sources(trees: Any, folder: Path, rows: str, *, units: int) -> None:
    import tl2cgen

    with warnings.catch_warnings():
        # TL2cgen reads checkpoints of an older Treelite and says so; what it reads wrongly, parity finds.
        warnings.simplefilter("ignore")
        tl2cgen.generate_c_code(trees, folder, {"parallel_comp": units})
    if rows == "float64":
        header = folder / "header.h"
        declared = header.read_text()
        if declared.count(_MISSING_OF_32_BITS) != 1:
            raise CompileFailed("tl2cgen", "this version marks missing values in another way than is known")
        header.write_text(declared.replace(_MISSING_OF_32_BITS, _MISSING_OF_64_BITS))
    kinds = {"float32": "float", "float64": "double"}
    entry = _ENTRY.format(features=trees.num_feature, type=kinds[trees.output_type], rows=kinds[rows])
    (folder / "entry.c").write_text(entry)


def _build(folder: Path, library: Path) -> None:
    """Compile every source in ``folder``, as many at once as there are CPUs, and link them. Raises CompileFailed."""
    command = compiler()
    if command is None:
        raise CompileFailed("tl2cgen", "there is no C compiler")
    sources = sorted(folder.glob("*.c"))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda source: _run([*command, *FLAGS, "-c", source.name], folder), sources))
    objects = [source.with_suffix(".o").name for source in sources]
    _run([*command, *FLAGS, "-shared", "-o", str(library), *objects, "-lm"], folder)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        reason = (
            f"{command[0]} ended with status {done.returncode}: {said.splitlines()[-1] if said else 'it said nothing'}"
        )
        raise CompileFailed("tl2cgen", reason, command=shlex.join(command), stderr=said[-STDERR_TAIL_CHARACTERS:])


class _Predictor:
    """Calls the compiled function."""

    def __init__(self, library: Path, facts: Mapping[str, Any], threads: int) -> None:
        self._predict = ctypes.CDLL(str(library)).servefit_predict
        self._predict.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p]
        self._predict.restype = None
        self._threads, self._type, self._rows = threads, np.dtype(facts["type"]), np.dtype(facts.get("rows", "float32"))
        self._whole = WholeCategories(facts) if facts["categorical_features"] else None
        self._outputs = Outputs(facts)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        if self._whole is not None:
            rows = self._whole(rows)
        rows = np.ascontiguousarray(rows, dtype=self._rows)  # the function reads so many bytes of any array
        count = len(rows)
        values = np.empty(count * self._outputs.values, dtype=self._type)
        self._predict(rows.ctypes.data, count, self._threads, values.ctypes.data)
        return self._outputs(values)

    def close(self) -> None:
        """Do nothing: a shared library stays in its process."""
