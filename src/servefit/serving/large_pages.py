"""Large pages for memory that workers share: a walk through a model touches many places, and finding a small page for
each takes longer than reading it. A file that is written gets small ones from the kernel unless they are asked for."""

from __future__ import annotations

import ctypes
import mmap

_PAGE_BYTES = 2 * 2**20
"""Of x86-64, and of ARM with small pages of 4 KiB."""

_MAP_FIXED = 0x10
_MADV_COLLAPSE = 25
"""As <sys/mman.h> has them; Python's mmap does not."""


def use_large_pages(memory: int, size_bytes: int) -> None:
    """Move what is behind the descriptor ``memory`` to large pages, but for its end, where the kernel can (Linux 6.1)
    and has some to spare. Nothing else changes, and nothing fails."""
    whole_bytes = size_bytes // _PAGE_BYTES * _PAGE_BYTES
    if not whole_bytes:
        return
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (*(ctypes.c_void_p, ctypes.c_size_t), *(ctypes.c_int,) * 3, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    # It has to lie as it would in large pages. So a larger space is taken first, and mapped into where that begins.
    space = libc.mmap(None, whole_bytes + _PAGE_BYTES, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if space in (None, ctypes.c_void_p(-1).value):
        return
    begin = -(-space // _PAGE_BYTES) * _PAGE_BYTES
    if libc.mmap(begin, whole_bytes, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, memory, 0) == begin:
        libc.madvise(begin, whole_bytes, _MADV_COLLAPSE)
    libc.munmap(space, whole_bytes + _PAGE_BYTES)
