OTHER: int
PART_OF_WORD: int
WHITE: int
MOST_LETTERS: int
MOST_BYTES: int

def murmur(term: bytes) -> int: ...

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
