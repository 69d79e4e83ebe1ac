"""What is freed goes back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

from hmer import memory


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


glibc = pytest.mark.skipif(not sys.platform.startswith("linux") or memory._trim is None, reason="not glibc")


@glibc
def test_pages_between_what_is_in_use_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_last_s", float("-inf"))
    blocks = [bytes(60_000) for _ in range(4_000)]  # below what glibc maps by itself
    before = resident_mb()
    blocks = blocks[::10]  # the heap's end stays in use
    memory.give_back()
    assert resident_mb() < before - 150
    assert len(blocks) == 400


def test_not_all_the_time_and_not_where_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(memory, "_trim", lambda pad: calls.append(pad) or 1)
    monkeypatch.setattr(memory, "_last_s", float("-inf"))
    monkeypatch.setattr(memory, "TRIM_EVERY_S", 0.3)
    for _ in range(3):
        memory.give_back()
    assert calls == [0]
    assert memory._soon is not None
    memory._soon.join(20)
    assert calls == [0, 0]  # the last ones' turn came, once
    monkeypatch.setattr(memory, "_trim", None)
    memory.give_back()


@glibc
def test_threads_share_two_heaps() -> None:
    code = """
import ctypes, threading
from hmer.memory import share_heaps
share_heaps()
def work():
    blocks = [bytes(1_000) for _ in range(2_000)]
    together.wait()
together = threading.Barrier(9)
for _ in range(8):
    threading.Thread(target=work).start()
together.wait()
ctypes.CDLL(None).malloc_stats()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert 1 <= done.stderr.count("Arena ") <= 2, done.stderr
