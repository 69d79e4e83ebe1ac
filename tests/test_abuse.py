"""Malformed input by the thousand: a clear message or a 4xx each, no stack trace, nothing written elsewhere, nothing lost.

The quick part takes a share of what goes to the functions behind the app; the slow one takes all of it, and sends
several hundred to a running app as a stranger would.
"""

import itertools
import json
import random
import re
import resource
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from abuse import (
    FORMULAS,
    INK,
    JSONS,
    MARK,
    NAMES,
    PICTURES,
    TEXTS,
    archive_bombs,
    archives,
    bodies,
    ink_bombs,
    inks,
    picture_bombs,
    pictures,
    predictions,
)

from annotations import AnnotationStore, Status
from hmer import latex
from hmer.checkpoint import resolve
from hmer.command_line import parse_time
from hmer.errors import HmerError
from hmer.export import export
from hmer.ink import parse_inkml
from hmer.ui import api, copying, correct, symbols
from hmer.ui.desk import browse, intake, work
from hmer.ui.draw_and_upload import examples, strokes_of
from hmer.ui.options import AppOptions
from hmer.ui.pages import Sheet, region_of, shown, taken
from hmer.ui.services import Services
from hmer.ui.typeset import typeset
from scripts.screenshots import ROOT, running_app

SEED = 8
HOW = ("", "greedy", 5, 0, 1, 0, 1, None, 20, "all", False)  # what /recognize takes after the picture, no checkpoint
SLOW_S = 20.0  # one input; on a busy machine
GREW_MB = 900  # what all of them together may take of memory at once

Case = tuple[str, Callable[[], object]]


@pytest.fixture(scope="module")
def services(toy_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Everything behind the panels, with an untrained model: what it reads does not matter here."""
    home = tmp_path_factory.mktemp("abuse")
    made = Services(AppOptions(checkpoint=str(toy_checkpoint), store=str(home / "annotations.db")))
    made.store.add(examples()[0].read_bytes(), correction="x", status="accepted")
    yield made
    made.close()


def sound(store: AnnotationStore | Path) -> int:
    """Check the database and give its count of annotations."""
    path = Path(store.name) if isinstance(store, AnnotationStore) else store
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (count,) = database.execute("SELECT count(*) FROM annotation").fetchone()
    return int(count)


# --- to the functions behind the app ----------------------------------------------------------------------


def of_pictures(services: Services, folder: Path) -> Iterator[Case]:
    """Damaged pictures, to be read or taken for pages."""
    chance = random.Random(SEED)
    recognizer = services.recognizers.get(services.options.checkpoint)
    sources = {kind: pictures(kind, chance) for kind in PICTURES}
    for number in itertools.count():
        kind = PICTURES[number % len(PICTURES)]
        data = next(sources[kind])
        if number % 10 == 9:
            page = folder / f"{number}.{kind.lower()}"
            page.write_bytes(data)
            yield f"page {number}", lambda page=page: _all_refused(taken([str(page)], True)[2])
        else:
            yield f"{kind} {number}", lambda data=data: recognizer.read(data)


def of_ink(services: Services, folder: Path) -> Iterator[Case]:
    """Damaged InkML, and strokes as the page would record them."""
    chance = random.Random(SEED)
    recognizer = services.recognizers.get(services.options.checkpoint)
    picture = examples()[0].read_bytes()
    for number, data in enumerate(inks(chance)):
        if number % 4 == 0:
            path = folder / f"{number}.inkml"
            path.write_bytes(data)
            yield f"file of ink {number}", lambda path=path: recognizer.read(path)
        elif number % 4 == 1:
            value = json.dumps(
                chance.choice(
                    (*JSONS, [[[1, 2, 3]]], [[[1e308, 0, 0]]], [[[10**400, 0, 0]]], [[["x"]]], [[[1, 2]] * 200_000])
                )
            )
            yield f"strokes {number}", lambda value=value: strokes_of(value, picture)
        else:
            yield f"ink {number}", lambda data=data: parse_inkml(data)


def of_archives(services: Services, folder: Path) -> Iterator[Case]:
    """Damaged archives, to be taken in."""
    for number, data in enumerate(archives(random.Random(SEED))):
        path = folder / f"{number}.zip"
        path.write_bytes(data)
        yield f"archive {number}", lambda path=path: _taken_in(services, path)


def of_predictions(services: Services, folder: Path) -> Iterator[Case]:
    """Answers that /recognize never gave, sent with a correction that is none: nothing of them is kept."""
    picture = examples()[0].read_bytes()
    for number, value in enumerate(predictions(random.Random(SEED))):
        yield (
            f"prediction {number}",
            lambda value=value: services.save(picture, "}", prediction=api.prediction_of(value)),
        )


def of_texts(services: Services, folder: Path) -> Iterator[Case]:
    """Every hostile text in every field that takes one."""
    first = services.store.ids(browse.selection("", "", "", "", "", "", ""), order="newest", limit=1)[0]
    picture = examples()[0].read_bytes()
    blank = np.full((20, 20), 255, np.uint8)
    plain = shown([Sheet("x", blank)], [[True, "x", 1, 2, 9, 9, "", ""]], "x")
    fields: dict[str, Callable[[str], object]] = {
        **{
            f"filter {place}": lambda text, place=place: browse.found(
                browse.selection(*(text if index == place else "" for index in range(7))), 0, services
            )
            for place in range(7)
        },
        "checkpoint": lambda text: resolve(text, fetch=False),
        "time": parse_time,
        "symbols": lambda text: services.recognizers.get(services.options.checkpoint).recognize(
            [picture], api.decoding_of(("greedy", 5, 0, 1, 0, 1, None, 10, text, False))
        ),
        "strategy": lambda text: api.decoding_of((text, 5, 0, 1, 0, 1, None, 10, "all", False)),
        "annotator": lambda text: work.decide(services.store, first, Status.ACCEPTED, text="x", by=text[:300]),
        "status": lambda text: browse.saved(first, "x", text, text, services, "ada"),
        "strokes": lambda text: strokes_of(text, picture),
        "region": lambda text: region_of([True, text, text, 1, 2, 3, "", ""]),
        "page": lambda text: _as_many_tags(
            shown([Sheet(text, blank)], [[True, text, 1, 2, 9, 9, "", ""]], text), plain
        ),
        **_formula_fields(services),
    }
    for (name, use), (number, text) in itertools.product(fields.items(), enumerate(TEXTS)):
        yield f"{name}: text {number} {text[:30]!r}", lambda use=use, text=text: use(text)


def of_formulas(services: Services, folder: Path) -> Iterator[Case]:
    """LaTeX that is not well-formed, wants to do something, or is far too much of it."""
    for (name, use), (number, text) in itertools.product(_formula_fields(services).items(), enumerate(FORMULAS)):
        yield f"{name}: formula {number} {text[:30]!r}", lambda use=use, text=text: use(text)


def _formula_fields(services: Services) -> dict[str, Callable[[str], object]]:
    return {
        "normalise": latex.normalise,
        "validate": latex.validate,
        "typeset": lambda text: _no_html(typeset(text)),
        "preview": lambda text: correct.preview(text, None, services),
        "symbols": symbols.chips,
        "copying": lambda text: copying.prepared(text, None),
        "svg": lambda text: export(text, "svg"),
        "png": lambda text: export(text, "png"),
    }


def of_bombs(services: Services, folder: Path) -> Iterator[Case]:
    """Small files that claim to be large."""
    recognizer = services.recognizers.get(services.options.checkpoint)
    for name, data in picture_bombs():
        yield name, lambda data=data: recognizer.read(data)
    for name, data in ink_bombs():
        yield name, lambda data=data: parse_inkml(data)
    for name, data in archive_bombs():
        (folder / name).write_bytes(data)
        yield name, lambda name=name: _taken_in(services, folder / name)


def _taken_in(services: Services, path: Path) -> None:
    """What is taken in from a copy (the page deletes its uploads) is taken out again."""
    for _ in intake.taken_in([str(path)], None, services.options.checkpoint, "batch", services):
        pass
    for number in services.store.ids(browse.selection("", "", "pending", "", "", "", ""), order="newest"):
        services.store.purge(number)


def _all_refused(problems: list[HmerError]) -> None:
    for problem in problems:
        _clear(str(problem))


def _no_html(markdown: str) -> None:
    assert "<script" not in markdown and "<img" not in markdown and "<svg" not in markdown


def _as_many_tags(page: str, plain: str) -> None:
    assert page.count("<") == plain.count("<")


def _clear(message: str) -> None:
    assert len(message) > 10
    assert "Traceback" not in message and 'File "' not in message


def check(cases: Iterator[Case]) -> int:
    """Each is refused in words, or taken; the count."""
    count, failures = 0, []
    for name, use in cases:
        count += 1
        began = time.monotonic()
        try:
            use()
        except HmerError as error:
            _clear(str(error))
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
        took = time.monotonic() - began
        if took > SLOW_S:
            failures.append(f"{name}: {took:.0f} s")
    assert not failures, f"{len(failures)} of {count}:\n" + "\n".join(failures[:60])
    return count


GROUPS: dict[Callable[[Services, Path], Iterator[Case]], tuple[int, int]] = {  # how many quickly, how many slowly
    of_pictures: (40, 500), of_ink: (20, 150), of_archives: (6, 100), of_predictions: (20, 150),
    of_texts: (150, 2_000), of_formulas: (60, 2_000), of_bombs: (0, 100),
}  # fmt: skip


@pytest.mark.parametrize("group", [group for group in GROUPS if GROUPS[group][0]])
def test_some_of_each_kind(
    group: Callable[[Services, Path], Iterator[Case]], services: Services, tmp_path: Path
) -> None:
    few = GROUPS[group][0]
    whole = group(services, tmp_path)
    if group in (of_texts, of_formulas):  # a share of a list, and none of its giants
        cases = list(whole)
        whole = iter(random.Random(SEED).sample(cases, few))
    before = sound(services.store)
    assert check(itertools.islice(whole, few)) == few
    assert sound(services.store) == before


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_all_of_each_kind(
    group: Callable[[Services, Path], Iterator[Case]], services: Services, tmp_path: Path
) -> None:
    before = sound(services.store)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert check(itertools.islice(group(services, tmp_path), GROUPS[group][1])) > 30
    assert sound(services.store) == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - memory < GREW_MB


# --- to a running app -------------------------------------------------------------------------------------


# gradio's queue wants to tell someone who has hung up by then; it goes on afterwards, and nobody sees this but the log.
GONE = re.compile(
    r"Traceback[^\n]*\n(?:  [^\n]*\n)*?[^\n]*pending_messages_per_session\[(?:[^\n]*\n)+?KeyError: [^\n]*\n"
)


@dataclass
class Stranger:
    """Somebody with nothing but the address of the app; notes what comes back."""

    url: str
    problems: list[str] = field(default_factory=list)
    sent: int = 0

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, str]:
        """Status and text of an answer; anything from 500 on is a problem."""
        self.sent += body is not None
        request = urllib.request.Request(f"{self.url}gradio_api/{path}", data=body, headers={"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode(errors="replace")
        if status >= 500 or "Traceback" in text:
            self.problems.append(f"{path}: {status} {text[:200]} for {(body or b'')[:200]!r}")
        return status, text

    def upload(self, name: str, content: bytes) -> str | None:
        """Where the app has put a file; None where it refused."""
        shown = name.encode("utf-8", "surrogatepass").replace(b'"', b"%22")
        head = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="' + shown + b'"\r\n\r\n'
        status, text = self.ask("upload", head + content + b"\r\n--cut--\r\n", "multipart/form-data; boundary=cut")
        if status != 200:
            assert 400 <= status < 500
            return None
        paths: list[str] = json.loads(text)
        return paths[0] if paths else None

    def call(self, endpoint: str, body: bytes) -> tuple[str, Any]:
        """What became of a request: `refused` with a status, `complete` with data, or `error` with a message."""
        status, text = self.ask(f"call/{endpoint}", body)
        try:
            event = json.loads(text)["event_id"] if status == 200 else None
        except (ValueError, KeyError, TypeError):
            event = None
        if event is None:
            return "refused", status
        _, stream = self.ask(f"call/{endpoint}/{event}")
        kind, data = "", None
        for line in stream.splitlines():
            if line.startswith("event: "):
                kind = line[len("event: ") :]
            elif line.startswith("data: "):
                data = json.loads(line[len("data: ") :])
        if kind == "error":
            message = data if isinstance(data, str) else (data or {}).get("error")
            if not message or "Traceback" in str(message) or len(str(message)) > 2_000:
                self.problems.append(f"{endpoint}: error {str(data)[:200]} for {body[:300]!r}")
        elif kind != "complete":
            self.problems.append(f"{endpoint}: {stream[:200]!r} for {body[:300]!r}")
        return kind, data


def uploaded(path: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def data(*values: Any) -> bytes:
    return json.dumps({"data": values}).encode()


def files_of(*folders: Path) -> set[Path]:
    """Every file below folders, but what python and the tests write for themselves."""
    passed = {
        "__pycache__",
        ".git",
        ".pytest_cache",
        ".ruff_cache",
        ".mypy_cache",
        ".hypothesis",
        ".venv",
        "node_modules",
    }
    return {
        path for folder in folders for path in folder.rglob("*") if path.is_file() and passed.isdisjoint(path.parts)
    }


@dataclass(frozen=True)
class Target:
    """A running app, its folders, and what lay around them before."""

    stranger: Stranger
    home: Path
    around: tuple[Path, ...]
    before: set[Path]

    @property
    def how(self) -> tuple[Any, ...]:
        """What /recognize takes after the picture."""
        return (self.stranger.call("list_checkpoints", b'{"data": []}')[1][0][0]["reference"], *HOW[1:])

    def check(self, rows: int) -> None:
        """Nothing broke, nothing was written elsewhere, and the store has so many annotations."""
        assert not self.stranger.problems, "\n".join(self.stranger.problems[:40])
        log = (self.home / "app.log").read_text(errors="replace")
        log = GONE.sub("", log)
        at = log.find("Traceback")
        assert at < 0, log[max(at - 500, 0) : at + 3_000]
        elsewhere = {path for path in files_of(*self.around) - self.before if self.home not in path.parents}
        assert elsewhere == set()
        assert not Path(f"/tmp/{MARK}").exists() and not Path(f"/tmp/{MARK}.png").exists()
        assert sound(self.home / "annotations.db") == rows
        assert self.stranger.call("list_checkpoints", b'{"data": []}')[0] == "complete"


@pytest.fixture(scope="module")
def target(toy_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    place = tmp_path_factory.mktemp("server")
    home, person, scratch = (place / name for name in ("home", "person", "scratch"))
    for folder in (home, person, scratch):
        folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(person))
        patch.setenv("TMPDIR", str(scratch))
        with running_app(home, str(toy_checkpoint), "--max_file_mb", "5") as url:
            around = (place, ROOT)
            yield Target(Stranger(url), home, around, files_of(*around))


@pytest.mark.slow
def test_strangers_send_files(target: Target) -> None:
    chance, stranger = random.Random(SEED), target.stranger
    how = target.how
    sources = {kind: pictures(kind, chance) for kind in PICTURES} | {"INKML": inks(chance)}
    rows = sound(target.home / "annotations.db")
    for number in range(250):
        kind = list(sources)[number % len(sources)]
        path = stranger.upload(f"{number}.{kind.lower()}", next(sources[kind]))
        if path is not None and number % 5:
            stranger.call("recognize", data(uploaded(path), *how))
        elif path is not None:
            outcome, answer = stranger.call("save_correction", data(uploaded(path), "x+1", None, "ada"))
            rows += outcome == "complete" and answer[0]["created"]
    for name, content in (*picture_bombs(), *ink_bombs()):
        path = stranger.upload(name, content)
        if path is not None:
            stranger.call("recognize", data(uploaded(path), *how))
    target.check(rows)
    several = [
        uploaded(path) for number in range(20) if (path := stranger.upload(f"{number}.png", next(sources["PNG"])))
    ]
    for images in (several, several * 4, [], [several[0], None], [[]], several[0], [{"path": "/etc/passwd"}]):
        stranger.call("recognize_batch", data(images, *how))
    target.check(rows)
    assert stranger.sent > 400


@pytest.mark.slow
def test_strangers_give_names(target: Target) -> None:
    stranger, how = target.stranger, target.how
    rows = sound(target.home / "annotations.db")
    for name in NAMES:
        for ending, content in (("", examples()[0].read_bytes()), (".inkml", INK), (".zip", b"PK\x03\x04")):
            path = stranger.upload(name + ending, content)
            assert path is None or target.home in Path(path).resolve().parents
            if path is not None:
                stranger.call("recognize", data(uploaded(path), *how))
    for path in (
        "/etc/passwd",
        str(target.home / "annotations.db"),
        "../annotations.db",
        f"{target.home}/uploads/../annotations.db",
    ):
        outcome, answer = stranger.call("recognize", data(uploaded(path), *how))
        assert outcome != "complete", answer
        status, text = stranger.ask(f"file={path}")
        assert status in (403, 404), text[:100]
    target.check(rows)


@pytest.mark.slow
def test_strangers_write_texts(target: Target) -> None:
    chance, stranger = random.Random(SEED), target.stranger
    picture = uploaded(stranger.upload("x.png", examples()[0].read_bytes()) or "")
    rows = sound(target.home / "annotations.db")
    usual = target.how
    saved = set()  # whoever saves a picture again mends what they said of it before
    outcome, answer = stranger.call("save_correction", data(picture, "x", None, ""))
    assert outcome == "complete"
    saved.add(answer[0]["id"])
    for text in (*TEXTS, *FORMULAS):
        outcome, answer = stranger.call("save_correction", data(picture, text, None, "ada"))
        saved |= {answer[0]["id"]} if outcome == "complete" else set()
    for text in TEXTS:
        stranger.call("save_correction", data(picture, "}", None, text))
        for place in (0, 1, 8):  # checkpoint, strategy, symbols
            how = (text if index == place else value for index, value in enumerate(usual))
            stranger.call("recognize", data(picture, *how))
    for value in itertools.islice(predictions(chance), 60):
        outcome, answer = stranger.call("save_correction", data(picture, "x", value, ""))
        saved |= {answer[0]["id"]} if outcome == "complete" else set()
    target.check(rows + len(saved))


@pytest.mark.slow
def test_strangers_send_json(target: Target) -> None:
    chance, stranger = random.Random(SEED), target.stranger
    picture = uploaded(stranger.upload("x.png", examples()[0].read_bytes()) or "")
    rows = sound(target.home / "annotations.db")
    wellformed = {
        "data": [picture, None, "greedy"],
        "session_hash": "abc",
        "fn_index": 3,
        "event_data": None,
        "trigger_id": 5,
    }
    for number, body in enumerate(itertools.islice(bodies(chance, wellformed), 200)):
        stranger.call(("recognize", "recognize_batch", "list_checkpoints", "nothing")[number % 4], body)
    for body in itertools.islice(bodies(chance, wellformed), 60):
        stranger.ask("queue/join", body)
    target.check(rows)
