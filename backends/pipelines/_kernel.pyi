import numpy as np

OTHER: int
PART_OF_WORD: int
WHITE: int
MAX_LETTERS: int
MAX_BYTES: int

def murmur(term: bytes) -> int: ...
def texts(rows: np.ndarray, size_column: int, begin: int, count: int) -> list[list[bytes]] | None: ...

class CategoryTable:
    def __init__(self, categories: list[bytes]) -> None: ...
    def look_up(self, texts: list[bytes]) -> bytes: ...

class TermCounter:
    def __init__(
        self,
        *,
        unit: str,
        least_letters: int,
        shortest: int,
        longest: int,
        width: int,
        vocabulary: dict[str, int] | None,
        alternating: bool,
        left_out: tuple[str, ...],
    ) -> None: ...
    def learn(self, code: int, becomes: bytes, kinds: bytes) -> None: ...
    def count(self, texts: list[bytes]) -> tuple[bytes, bytes, bytes, list[int]]: ...
