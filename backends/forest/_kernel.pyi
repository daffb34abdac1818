import mmap
from typing import TypeAlias

import numpy as np

_Buffer: TypeAlias = np.ndarray | mmap.mmap | memoryview | bytearray | bytes

FORMAT_VERSION: int

def instruction_sets() -> list[str]: ...

class Forest:
    instructions: str | None
    block_rows: int
    def __init__(self, file: _Buffer, *, threads: int = 1, instructions: str | None = None) -> None: ...
    def predict(self, rows: _Buffer, out: _Buffer) -> None: ...
    def close(self) -> None: ...
