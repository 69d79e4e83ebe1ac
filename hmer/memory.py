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
_soon: threading.Timer | None = None  # so that what the last of many asked for happens too


def _find_trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # not glibc
        return None
    return found


_trim = _find_trim()


def give_back() -> None:
    """Hand the free pages of the heap back: now, or soon if that was done a moment ago; nothing where libc cannot.

    glibc keeps what was freed below something that is still in use. Pictures are of many sizes, and each thread has a
    heap of its own: without this a server grows by hundreds of megabytes, and training by gigabytes.
    """
    global _last_s, _soon
    if _trim is None or not _guard.acquire(blocking=False):
        return
    try:
        left = _last_s + TRIM_EVERY_S - time.monotonic()
        if left < 0.01:  # a timer may be a little early
            _trim(0)
            _last_s = time.monotonic()
        elif _soon is None or not _soon.is_alive():
            _soon = threading.Timer(left, give_back)
            _soon.daemon = True
            _soon.start()
    finally:
        _guard.release()


def share_heaps() -> None:
    """Let all threads of a server share two heaps; each thread's own would keep what it once needed."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)
