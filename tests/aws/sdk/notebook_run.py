"""Runs a notebook from top to bottom, and writes it with its outputs.

    python tests/aws/sdk/notebook_run.py NOTEBOOK PYTHON

PYTHON is what the kernel is started by; it has ipykernel. The program itself runs with nbclient, in a process of its
own: a client of notebooks leaves sockets open.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

_LONGEST_CELL_S = 300


def main() -> None:
    path, python = sys.argv[1:]
    kernel = AsyncKernelManager()
    command = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel._kernel_spec = KernelSpec(argv=command, display_name="the SDK", language="python")
    notebook = nbformat.read(path, 4)
    try:
        NotebookClient(notebook, timeout=_LONGEST_CELL_S, km=kernel).execute(cwd=str(Path(path).parent))
    finally:
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
