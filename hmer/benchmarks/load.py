"""Many users of one app: how long each waits, whether each gets the answer to what it sent, and what memory does.

The app is started for it, on this computer, with an empty data folder; the users are threads here.
"""

import contextlib
import dataclasses
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx  # gradio brings it

from hmer.config import Decoding
from hmer.errors import ConfigError, DatasetError

START_S, ANSWER_S = 180.0, 60.0
_APP = "import sys; from hmer.ui.serve import main; sys.exit(main(sys.argv[1:]))"


@dataclass
class _Told:
    """What the users saw, under `lock`."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrong: int = 0


def load(
    pictures: Sequence[Path], *, checkpoint: str, users: int = 50, every_s: float = 10.0, minutes: float = 5.0
) -> dict[str, Any]:
    """Requests of `users`, each every `every_s` seconds, each for its own picture.

    Gives n, errors, wrong (answers that are not those of the same picture asked alone), median_s, p95_s, and
    memory_growth_mb of the server after every user was there once. Raises DatasetError, ConfigError.
    """
    if len(pictures) < 2:
        raise DatasetError("Load needs at least two different pictures; name a folder with more.")
    told = _Told()
    with _running(checkpoint) as (url, process), contextlib.ExitStack() as visits:
        at = f"{url}gradio_api/"
        clients = [visits.enter_context(httpx.Client(base_url=at, timeout=ANSWER_S)) for _ in range(users)]
        own = [pictures[index % len(pictures)] for index in range(users)]
        alone = {picture: ask(clients[0], picture, checkpoint) for picture in dict.fromkeys(own)}
        for client, picture in zip(clients, own, strict=True):
            ask(client, picture, checkpoint)
        before = _memory_mb(process.pid)
        begin = time.monotonic()

        def use(index: int) -> None:
            due = begin + every_s * index / users
            while due < begin + 60 * minutes:
                time.sleep(max(0.0, due - time.monotonic()))
                asked = time.monotonic()
                try:
                    answer = ask(clients[index], own[index], checkpoint)
                except Exception as error:  # whatever it is, it is what a user would have got
                    with told.lock:
                        told.errors.append(f"{type(error).__name__}: {error}")
                else:
                    with told.lock:
                        told.seconds.append(time.monotonic() - asked)
                        told.wrong += answer != alone[own[index]]
                due = max(due + every_s, time.monotonic())

        threads = [threading.Thread(target=use, args=(index,), daemon=True) for index in range(users)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        growth = _memory_mb(process.pid) - before
    seconds = sorted(told.seconds) or [float("nan")]
    return {
        "users": users,
        "n": len(told.seconds) + len(told.errors),
        "errors": len(told.errors),
        "first_error": told.errors[0] if told.errors else "",
        "wrong": told.wrong,
        "median_s": statistics.median(seconds),
        "p95_s": seconds[math.ceil(0.95 * len(seconds)) - 1],
        "memory_growth_mb": growth,
    }


def ask(user: httpx.Client, picture: Path, checkpoint: str) -> str:
    """The answer's LaTeX, asked for in plain HTTP: users must not need more of this computer than what they measure.

    Raises httpx.HTTPError, and RuntimeError with what the app says where it gives no answer.
    """
    files = {"files": (picture.name, picture.read_bytes())}
    (path,) = user.post("upload", files=files).raise_for_status().json()
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, checkpoint, *dataclasses.astuple(Decoding())]
    event = user.post("call/recognize", json={"data": data}).raise_for_status().json()["event_id"]
    said = user.get(f"call/recognize/{event}").raise_for_status().text
    if "event: complete" not in said:
        raise RuntimeError(said.strip())
    (answer,) = json.loads(said.rpartition("data: ")[2])
    return str(answer["latex"])


@contextlib.contextmanager
def _running(checkpoint: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An app on a free port of this computer, and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="hmer-load-") as home:
        log = Path(home) / "app.log"
        command = [sys.executable, "-c", _APP, "--port", str(port), "--checkpoint", checkpoint]
        environment = {**os.environ, "HMER_HOME": home, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            give_up = time.monotonic() + START_S
            while "hmer is at" not in log.read_text():
                if process.poll() is not None or time.monotonic() > give_up:
                    raise ConfigError(f"The app did not start: {log.read_text()[-500:]}")
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/", process
        finally:
            process.terminate()
            process.wait(timeout=30)


def _memory_mb(pid: int) -> float:
    """What a process holds in memory; not a number where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), float("nan"))
