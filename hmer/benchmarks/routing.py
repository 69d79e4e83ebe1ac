"""What `automatic` makes of handwriting and of print; see `hmer.routing`."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

from hmer.config import Decoding
from hmer.datasets.folder import read_dataset
from hmer.errors import BadImage, DatasetError
from hmer.metrics import without
from hmer.recognizer import Recognition
from hmer.routing import Automatic, reader_of, surest

SEED = 0


def routing(
    reader: Automatic,
    folder: str | Path,
    limit: int = 0,
    ignore: list[str] | None = None,
    decoding: Decoding | None = None,
) -> dict[str, Any]:
    """Read a dataset folder with every reader: n, how often each was chosen, and the ExpRate of each and of the choice.

    Labels and answers are compared in the label form of the reader that gave the answer, without the tokens of
    `ignore`. What a reader refuses counts as wrong. Raises DatasetError.
    """
    items = {name: read_dataset(folder, each.config.label_form) for name, each in reader.readers.items()}
    count = min(map(len, items.values()))
    if count != max(map(len, items.values())):
        raise DatasetError(f"{folder}: some labels cannot be written in every reader's form.")
    chosen = sorted(random.Random(SEED).sample(range(count), limit)) if 0 < limit < count else list(range(count))
    answers: list[dict[str, Recognition]] = [{} for _ in chosen]
    for name, each in reader.readers.items():
        prepared = {}
        for place, index in enumerate(chosen):
            try:
                prepared[place] = each.read(items[name][index].path)
            except BadImage:
                continue
        found = each.recognize_prepared(list(prepared.values()), decoding)
        for place, answer in zip(prepared, found, strict=True):
            answers[place][name] = answer
    taken: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for index, found_here in zip(chosen, answers, strict=True):
        verdicts = {
            name: without(answer.tokens, ignore or ()) == without(items[name][index].tokens, ignore or ())
            for name, answer in found_here.items()
        }
        right.update(name for name, verdict in verdicts.items() if verdict)
        if found_here:
            winner = reader_of(surest(list(found_here.values())).checkpoint)
            taken[winner] += 1
            right["automatic"] += verdicts[winner]
    rates = {name: right[name] / len(chosen) for name in (*reader.readers, "automatic")}
    return {"n": len(chosen), "chosen": dict(taken), "exprate": rates}
