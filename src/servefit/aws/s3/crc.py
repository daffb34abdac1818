"""CRCs that no library here computes: CRC-32C and CRC-64/NVME, which newer clients of AWS send.

A block is cut into lanes, whose CRCs numpy computes side by side, two bytes at a time; then neighbours are joined. Both
rest on a CRC being linear: with state zero it is the exclusive or of the CRCs of its parts, each as it is after the
zeros that stand for what follows it. The same is done by zlib's crc32_combine, for two parts.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Words: TypeAlias = NDArray[np.uint64]

_BLOCK_BITS, _LANE_BITS = 20, 8
"""Of the number of bytes in a block, at most, and in a lane. The fastest of those tried."""


class Crc:
    """A CRC of 32 or 64 bits whose bits are reflected, by its reflected polynomial. Threads may share it.

    Example:
        >>> crc32c = Crc(0x82F63B78, bits=32)
        >>> crc32c.digest(crc32c.extended(crc32c.start, b"123456789")).hex()
        'e3069283'
    """

    def __init__(self, polynomial: int, *, bits: int) -> None:
        self.start = (1 << bits) - 1
        self.digest_size = bits // 8
        self._polynomial = np.uint64(polynomial)
        self._pairs = self._after_zeros(np.arange(2**16, dtype=np.uint64), bits=16)
        # What each bit of a state becomes after 1, 2, 4, ... zero bytes.
        columns = self._after_zeros(np.uint64(1) << np.arange(bits, dtype=np.uint64), bits=8)
        self._shifts = [_tables(columns)]
        for _ in range(_BLOCK_BITS):
            columns = self._shifted(columns, len(self._shifts) - 1)
            self._shifts.append(_tables(columns))

    def extended(self, state: int, content: bytes) -> int:
        """Return the state after more bytes."""
        values = np.frombuffer(content, np.uint8)
        for begin in range(0, len(values), 1 << _BLOCK_BITS):
            block = values[begin : begin + (1 << _BLOCK_BITS)]
            before = np.array([state], np.uint64)
            for power in range(_BLOCK_BITS + 1):
                if len(block) >> power & 1:
                    before = self._shifted(before, power)
            state = int(before[0]) ^ self._of_block(block)
        return state

    def digest(self, state: int) -> bytes:
        """Return the checksum of all bytes that a state is after."""
        return (state ^ self.start).to_bytes(self.digest_size, "big")

    def _of_block(self, block: NDArray[np.uint8]) -> int:
        """Return the state after a block, from zero: zeros before it change nothing."""
        lanes = 1 << max(0, len(block) - 1 >> _LANE_BITS).bit_length()
        padded = np.zeros(lanes << _LANE_BITS, np.uint8)
        padded[-len(block) :] = block
        states = np.zeros(lanes, np.uint64)
        for pair in np.ascontiguousarray(padded.view("<u2").reshape(lanes, -1).T):
            states = self._pairs[states.astype(np.uint16) ^ pair] ^ (states >> np.uint64(16))
        power = _LANE_BITS
        while len(states) > 1:
            states = self._shifted(states[::2], power) ^ states[1::2]
            power += 1
        return int(states[0])

    def _after_zeros(self, states: _Words, *, bits: int) -> _Words:
        for _ in range(bits):
            states = (states >> np.uint64(1)) ^ (self._polynomial * (states & np.uint64(1)))
        return states

    def _shifted(self, states: _Words, power: int) -> _Words:
        """Return the states after ``2**power`` zero bytes."""
        shifted = np.zeros_like(states)
        for byte, table in enumerate(self._shifts[power]):
            shifted ^= table[(states >> np.uint64(8 * byte)).astype(np.uint8)]
        return shifted


def _tables(columns: _Words) -> _Words:
    """Return what each value of each byte of a state becomes, given what its bits become."""
    values = np.arange(256, dtype=np.uint64)
    tables = np.zeros((len(columns) // 8, 256), np.uint64)
    for bit, column in enumerate(columns):
        tables[bit // 8] ^= column * (values >> np.uint64(bit % 8) & np.uint64(1))
    return tables


@cache
def crc32c() -> Crc:
    """Return the CRC of iSCSI (RFC 3720)."""
    return Crc(0x82F63B78, bits=32)


@cache
def crc64nvme() -> Crc:
    """Return the CRC of the NVM Command Set Specification, 5.2.1.3.4."""
    return Crc(0x9A6C9329AC4BC9B5, bits=64)
