"""Nothing is lost: a hundred writers at once, programs killed in the middle of saving, full disks."""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from annotations import AnnotationStore, Selection

ROOT = Path(__file__).parent.parent
WRITERS = 100


def picture(seed: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return np.random.default_rng(seed).integers(0, 256, (6, 9), dtype=np.uint8)


def test_a_hundred_writers_lose_nothing(store: AnnotationStore) -> None:
    start = threading.Barrier(WRITERS)
    shared = store.add(picture(0), correction="x").annotation

    def write(writer: int) -> int:
        start.wait()
        row = store.add(picture(writer % 10), correction=f"x_{{{writer}}}", annotator=f"{writer}").annotation
        store.update_correction(row.id, f"y_{{{writer}}}", status="accepted", by=f"{writer}")
        store.set_status(shared.id, "skipped" if writer % 2 else "pending", by=f"{writer}")
        return row.id

    with ThreadPoolExecutor(WRITERS) as pool:
        ids = list(pool.map(write, range(WRITERS)))
    assert len(set(ids)) == WRITERS
    rows = {row.id: row for row in store.find(Selection(statuses=("accepted",)))}
    assert {(row.annotator, row.correction) for row in rows.values()} == {
        (f"{writer}", f"y_{{{writer}}}") for writer in range(WRITERS)
    }
    assert set(rows) == set(ids)
    # What happened to the row that all changed is one unbroken chain.
    history = store.history(shared.id)
    for later, earlier in itertools.pairwise(history):
        assert later.before == earlier.after
    assert history[0].after is not None
    assert history[0].after["status"] == store.get(shared.id).status
    assert len(store.history()) == 1 + 2 * WRITERS + len(history) - 1


WRITING_PROGRAM = """
import sys
from annotations import AnnotationStore
sys.path.insert(0, "tests")
from test_annotations_durability import picture

with AnnotationStore(sys.argv[1], busy_timeout_s=60) as store:
    for number in range(25):
        store.add(picture(number), correction=f"x_{{{number}}}", annotator=sys.argv[2])
"""


@pytest.mark.slow
def test_several_programs_lose_nothing(tmp_path: Path) -> None:
    programs = [
        subprocess.Popen([sys.executable, "-c", WRITING_PROGRAM, str(tmp_path / "a.db"), name], cwd=ROOT)
        for name in ("Ada", "Bob", "Cleo", "Dan")
    ]
    assert [program.wait(120) for program in programs] == [0, 0, 0, 0]
    with AnnotationStore(tmp_path / "a.db") as store:
        assert store.count() == 100
        assert {row.annotator for row in store.find()} == {"Ada", "Bob", "Cleo", "Dan"}


# Forks a program that saves and says so line by line, as often as it is told to; starting one anew takes a second.
SAVING_PROGRAM = """
import os, sys
from annotations import AnnotationStore
sys.path.insert(0, "tests")
from test_annotations_durability import save_on_and_on

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        save_on_and_on(sys.argv[1], int(line))
    print("child", child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def save_on_and_on(path: str, number: int) -> None:
    """Save, correct and delete until killed; `done` lines tell how far it has come for certain."""
    with AnnotationStore(path) as store:
        while True:
            number += 1
            row = store.add(picture(number), correction="x", annotator=f"{number}").annotation
            os.write(1, b"added %d\n" % row.id)  # at once or not at all
            store.update_correction(row.id, "y", status="accepted", by="Ada")
            os.write(1, b"corrected %d\n" % row.id)
            if number % 3 == 0:
                store.delete(row.id)
                os.write(1, b"deleted %d\n" % row.id)


@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_while_saving_leaves_the_old_or_the_new(kills: int, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    chance = random.Random(0)
    states = {"added": ("x", "pending"), "corrected": ("y", "accepted"), "deleted": None}
    after = {"added": "corrected", "corrected": "deleted", "deleted": "added"}
    known: dict[int, str] = {}  # what was confirmed of every row
    cut = 0
    pace_s = 0.02  # of a step, as measured so far: machines differ
    with AnnotationStore(path) as store:
        program = subprocess.Popen(
            [sys.executable, "-c", SAVING_PROGRAM, str(path)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None
        kill = 0
        # Of fifty, some are to hit between the commit and its confirmation: a narrow gap, so it may take more.
        while kill < kills or (kills >= 50 and not cut and kill < 10 * kills):
            kill += 1
            program.stdin.write(f"{kill * 10_000}\n")
            word, child = program.stdout.readline().split()
            assert word == "child"
            timer = threading.Timer(chance.uniform(0.0, 1.5) * pace_s, os.kill, (int(child), signal.SIGKILL))
            spared = chance.randint(1, 6)  # steps before the clock is started
            last, touched, times = None, set(), []
            while (line := program.stdout.readline().strip()) != "gone":
                times.append(time.monotonic())
                if len(times) == spared:
                    timer.start()
                assert line.count(" ") == 1, (kill, line)
                word, number = line.split()
                known[int(number)] = last = word
                touched.add(int(number))
            timer.join()
            if len(times) > 1:
                pace_s = (times[-1] - times[0]) / (len(times) - 1)
            rows = {row.id: row for row in store.find()}
            newest = max(known, default=0)
            for number, word in known.items():
                row = rows.pop(number, None)
                found = None if row is None else (row.correction, str(row.status))
                may = {states[word]} | ({states[after[word]]} if number == newest and last is not None else set())
                assert found in may, (number, word, found)
                if found != states[word]:
                    cut += 1
                    known[number] = after[word]
            for number, row in rows.items():  # begun and not confirmed: at most the next one
                assert number == newest + 1
                assert (row.correction, row.status) == ("x", "pending")
                known[number] = "added"
                touched.add(number)
                cut += 1
            for number in touched:  # picture and history are there with their row, or not
                assert len(store.history(number)) == {"added": 1, "corrected": 2, "deleted": 3}[known[number]]
                if known[number] != "deleted":
                    store.image(number)
            store.check()
        program.stdin.close()
        assert program.wait(30) == 0
        assert len(known) > kills
        assert kills < 50 or cut > 0
