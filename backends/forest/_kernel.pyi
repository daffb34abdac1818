import mmap

import numpy as np

FORMAT_VERSION: int

def instruction_sets() -> list[str]: ...

class Forest:
    instructions: str | None
    block_rows: int
    def __init__(self, file: mmap.mmap, *, threads: int = 1, instructions: str | None = None) -> None: ...
    def predict(self, rows: np.ndarray, out: np.ndarray) -> None: ...
    def close(self) -> None: ...
