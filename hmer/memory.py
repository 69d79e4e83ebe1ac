"""Memory that was freed goes back to the system."""

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable

TRIM_EVERY_S = 3.0
M_ARENA_MAX, HEAPS = -8, 2  # glibc's number of the setting

_guard = threading.Lock()
_last_s = float("-inf")


def _find_trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # not glibc
        return None
    return found


_trim = _find_trim()


def give_back() -> None:
    """Hand the free pages of the heap back, if that was not done a moment ago; nothing where the C library cannot.

    glibc keeps what was freed below something that is still in use. Pictures are of many sizes, and each thread has a
    heap of its own: without this a server grows by hundreds of megabytes, and training by gigabytes.
    """
    global _last_s
    if _trim is None or not _guard.acquire(blocking=False):
        return
    try:
        if time.monotonic() - _last_s >= TRIM_EVERY_S:
            _trim(0)
            _last_s = time.monotonic()
    finally:
        _guard.release()


def share_heaps() -> None:
    """Let all threads of a server share two heaps; each thread's own would keep what it once needed."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)
