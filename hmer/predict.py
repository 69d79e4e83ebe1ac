"""The command that reads formulas from files and from the clipboard; scripts/predict.py and `hmer predict` are it."""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from hmer import clipboard
from hmer.cleanup import clean_up, join
from hmer.command_line import add_decoding, settings
from hmer.config import AUTOMATIC, Decoding
from hmer.errors import ConfigError, HmerError
from hmer.export import export
from hmer.recognizer import Recognition
from hmer.routing import load

Form = Literal["latex", "inline", "display", "mathml"]


def main(argv: Sequence[str] | None = None) -> int:
    """Write a line a file; 1 if a file could not be read. Raises HmerError for what concerns all of them."""
    parser = ArgumentParser(
        prog="predict", allow_abbrev=False, description="Read formulas from pictures or .inkml files."
    )
    parser.add_argument("files", nargs="*", type=str)
    parser.add_argument(
        "--checkpoint",
        type=str,
        default=AUTOMATIC,
        help="a bundled name, a checkpoint folder, or automatic: the surer of handwritten and printed",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--form", type=Form, default="latex", help="how the formula is written")
    parser.add_argument(
        "--clipboard", action="store_true", help="read the clipboard's picture, and put what it says there instead"
    )
    parser.add_argument(
        "--clean_up", action="store_true", help="drop layout words and loose braces, which CRNN-CTC writes"
    )
    add_decoding(parser)
    options = parser.parse_args(None if argv is None else list(argv))
    if bool(options.files) == options.clipboard:
        raise ConfigError("Name files to read, or give --clipboard; one of the two.")
    decoding = settings(Decoding, options)
    picture = clipboard.read_picture() if options.clipboard else None
    recognizer = load(options.checkpoint)

    def read(source: Any) -> Recognition:
        answer = recognizer.recognize([source], decoding)[0]
        return cleaned_up(answer) if options.clean_up else answer

    if picture is not None:
        answer = read(picture)
        text = str(export(answer.latex, options.form))
        sys.stdout.write(f"{json.dumps(as_json('clipboard', answer), ensure_ascii=False) if options.json else text}\n")
        sys.stdout.flush()
        clipboard.write_text(text)
        _warn_if_cut("clipboard", answer)
        return 0
    return max([_file(read, file, options.form, options.json) for file in options.files])


def cleaned_up(answer: Recognition) -> Recognition:
    """The answer, and its alternatives, after `hmer.cleanup`; without confidences of single tokens."""
    alternatives = []
    for other in answer.alternatives:
        tokens = clean_up(other.tokens)
        alternatives.append(dataclasses.replace(other, tokens=tuple(tokens), latex=join(tokens)))
    tokens = clean_up(answer.tokens)
    return dataclasses.replace(
        answer, tokens=tuple(tokens), latex=join(tokens), alternatives=tuple(alternatives), token_confidence=()
    )


def _file(read: Callable[[Any], Recognition], file: str, form: str, as_object: bool) -> int:
    """Write what a file says; 1, and why, if it cannot be read."""
    try:
        answer = read(Path(file))
        text = answer.latex if form == "latex" else str(export(answer.latex, form))
    except HmerError as error:
        if as_object:
            sys.stdout.write(json.dumps({"file": file, "error": str(error)}, ensure_ascii=False) + "\n")
        else:
            sys.stderr.write(f"{file}: {error}\n")
        return 1
    line = json.dumps(as_json(file, answer), ensure_ascii=False) if as_object else f"{file}\t{text}"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    _warn_if_cut(file, answer)
    return 0


def _warn_if_cut(name: str, answer: Recognition) -> None:
    if not answer.finished:
        sys.stderr.write(
            f"{name}: was not read to its end: the model began to repeat itself, or --max_length is too short.\n"
        )


def as_json(file: str, answer: Recognition) -> dict[str, Any]:
    """The object that --json writes for one file."""
    return {
        "file": file,
        "latex": answer.latex,
        "tokens": list(answer.tokens),
        "confidence": answer.confidence,
        "finished": answer.finished,
        "alternatives": [
            {"latex": other.latex, "tokens": list(other.tokens), "probability": other.probability}
            for other in answer.alternatives
        ],
        "checkpoint": answer.checkpoint,
        "seconds": answer.seconds,
    }
