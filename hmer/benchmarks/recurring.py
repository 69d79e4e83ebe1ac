"""An error that somebody corrected three times: how often it comes back.

A symbol that was misread in somebody's formula is put, as that hand wrote it, in the place of the same symbol in other
formulas, every one written a little differently. Where it is misread in the same way, three are corrected; the others
are read again by what was learnt from those three and nothing else.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hmer.augment import distort_strokes
from hmer.bootstrap import interval
from hmer.datasets.batches import symbol_positions
from hmer.datasets.folder import Item, write_labels
from hmer.datasets.recombine import fitted
from hmer.errors import DatasetError
from hmer.finetune import fine_tune
from hmer.image import Grey
from hmer.ink import Ink, Stroke, rasterize, read_inkml, symbol_size
from hmer.metrics import align, without
from hmer.recognizer import Recognizer
from hmer.vocabulary import UNWRITTEN

CORRECTIONS = 3
LONGEST = 20  # tokens of a formula that takes part
TRIED, TESTED = 40, 10  # formulas that a symbol is put into at most, and that are read again at most
SYMBOL_PX, PEN_PX = 40.0, 3.0

Picture = tuple[Sequence[str], Grey]  # with its true tokens


@dataclass(frozen=True)
class Written:
    """A formula with its ink; `positions` as from `symbol_positions`."""

    item: Item
    ink: Ink
    positions: tuple[int, ...]

    def places_of(self, token: str) -> list[int]:
        """Where in the ink's symbols it was written."""
        tokens = self.item.tokens
        return [index for index, place in enumerate(self.positions) if place >= 0 and tokens[place] == token]

    def strokes_at(self, position: int) -> list[Stroke]:
        """What was written for the token there."""
        symbol = self.ink.symbols[self.positions.index(position)]
        return [self.ink.strokes[stroke] for stroke in symbol.strokes]


@dataclass(frozen=True)
class Misreading:
    """In somebody's formula the token at `position` was read as another."""

    where: Written
    position: int
    read_as: str

    @property
    def token(self) -> str:
        return self.where.item.tokens[self.position]


def recurring(
    reference: str,
    items: Sequence[Item],
    *,
    errors: int = 10,
    ignore: Sequence[str] = (),
    threads: int = 0,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Correct errors three times each and see which come back; `items` are ink with segmentation.

    recurs: share of the formulas read again, which all held the error before, in which it is there after fine-tuning
    on three others, at the strength that the gate chose (whether it accepts or not); its interval over errors;
    seconds_per_finetune. Raises DatasetError when too few errors can be shown in other formulas.
    """
    old = Recognizer.load(reference)
    formulas = [
        Written(item, ink, tuple(symbol_positions(item.tokens, ink)))
        for item in items
        if item.path.suffix.lower() == ".inkml"
        and len(item.tokens) <= LONGEST
        and (ink := read_inkml(item.path)).symbols
    ]
    lines: list[dict[str, Any]] = []
    for error in misreadings(old, formulas, ignore):
        others = [one for one in formulas if one is not error.where and one.places_of(error.token)]
        pictures: list[Picture] = [
            (one.item.tokens, shown_in(error, one, seed)) for seed, one in enumerate(others[:TRIED])
        ]
        again = [
            (tokens, picture)
            for (tokens, picture), answer in zip(pictures, read(old, pictures, ignore), strict=True)
            if (error.token, error.read_as) in align(without(tokens, ignore), answer)
        ]
        if len(again) < 2 * CORRECTIONS:
            continue
        taught, tested = again[:CORRECTIONS], again[CORRECTIONS : CORRECTIONS + TESTED]
        with tempfile.TemporaryDirectory(prefix="hmer-recurring-") as working:
            began = time.perf_counter()
            result = fine_tune(
                reference, _write(taught, Path(working) / "data"), Path(working) / "new", force=True, threads=threads
            )
            seconds = time.perf_counter() - began
            assert result.folder is not None
            new = Recognizer.load(result.folder)
        answers = read(new, tested, ignore)
        pairs = [align(without(tokens, ignore), answer) for (tokens, _), answer in zip(tested, answers, strict=True)]
        left = [(error.token, error.read_as) in found for found in pairs]
        right = [all(one == other for one, other in found) for found in pairs]
        line = {
            "token": error.token, "read_as": error.read_as, "writer": error.where.item.writer, "n": len(tested),
            "recurs": sum(left), "right": sum(right), "strength": result.strength, "seconds": seconds,
            "accepted": result.verdict.accepted, "gate": result.verdict.figures(),
        }  # fmt: skip
        lines.append(line)
        if report is not None:
            report(line)
        if len(lines) == errors:
            break
    if not lines:
        raise DatasetError(
            "No error could be shown in enough other formulas; give ink with its segmentation, and more."
        )
    counts = np.array([[line["recurs"], line["n"]] for line in lines], float)
    bounds = interval(counts, lambda drawn: float(drawn[:, 0].sum() / drawn[:, 1].sum()))
    return {
        "checkpoint": old.id, "errors": len(lines), "n": int(counts[:, 1].sum()),
        "recurs": float(counts[:, 0].sum() / counts[:, 1].sum()), "recurs_interval": list(bounds),
        "seconds_per_finetune": float(np.mean([line["seconds"] for line in lines])),
        "accepted": sum(line["accepted"] for line in lines), "formulas": lines,
    }  # fmt: skip


def misreadings(recognizer: Recognizer, formulas: Sequence[Written], ignore: Sequence[str]) -> Iterator[Misreading]:
    """One symbol taken for another, the rest being right: each pair of tokens once, in the formulas' order."""
    seen: set[tuple[str, str]] = set()
    for one in formulas:
        (answer,) = recognizer.recognize([_picture(one.ink, None)])
        truth, found = one.item.tokens, without(answer.tokens, ignore)
        if len(truth) != len(found):
            continue
        wrong = [index for index, pair in enumerate(zip(truth, found, strict=True)) if pair[0] != pair[1]]
        if len(wrong) != 1 or truth[wrong[0]] in UNWRITTEN or wrong[0] not in one.positions:
            continue
        pair = (truth[wrong[0]], found[wrong[0]])
        if pair not in seen and pair[1] not in UNWRITTEN:
            seen.add(pair)
            yield Misreading(one, wrong[0], pair[1])


def shown_in(error: Misreading, other: Written, seed: int) -> Grey:
    """A picture of another formula in which that token is as the misread hand wrote it, all a little distorted."""
    own = error.where.strokes_at(error.position)
    scale = symbol_size(other.ink) / symbol_size(error.where.ink)
    strokes = list(other.ink.strokes)
    for symbol in (other.ink.symbols[index] for index in other.places_of(error.token)):
        box = [other.ink.strokes[stroke] for stroke in symbol.strokes]
        placed = fitted(own, box, scale, 0.0)
        # Where the hands have other counts of strokes: what is left over lies on the last.
        for index, place in enumerate(symbol.strokes):
            strokes[place] = placed[min(index, len(placed) - 1)]
        strokes += placed[len(symbol.strokes) :]
    return _picture(Ink(tuple(strokes), other.ink.symbols), np.random.default_rng(seed))


def _picture(ink: Ink, random: np.random.Generator | None) -> Grey:
    strokes = distort_strokes(ink, random or np.random.default_rng(0), 0.7 if random else 0.0)
    return rasterize([stroke * SYMBOL_PX for stroke in strokes], thickness_px=PEN_PX, jagged=True)


def read(recognizer: Recognizer, pictures: Sequence[Picture], ignore: Sequence[str]) -> list[list[str]]:
    """The answers' tokens."""
    return [without(one.tokens, ignore) for one in recognizer.recognize([picture for _, picture in pictures])]


def _write(pictures: Sequence[Picture], folder: Path) -> Path:
    folder.mkdir()
    rows = []
    for index, (tokens, picture) in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index}.png"), picture)
        rows.append((f"{index}.png", " ".join(tokens)))
    write_labels(folder, rows, ("file", "latex"))
    return folder
