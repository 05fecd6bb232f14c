"""
Memory of a service that runs for months: what a large message took goes back to the system.
"""

import ctypes

_M_MMAP_THRESHOLD = -3  # malloc.h of glibc
_LARGE = 1 << 20  # octets


def return_large_blocks() -> None:
    """
    Have large blocks mapped, each on its own, and unmapped when they are freed (mallopt(3)).

    Otherwise glibc learns from the first large message to keep such blocks in its arenas, of which each thread may
    have one. Other C libraries do no such thing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
