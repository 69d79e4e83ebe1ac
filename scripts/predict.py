"""Read formulas: python scripts/predict.py FILE... [--checkpoint REF] [--strategy beam --beam_width 10] [--json]."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser

from hmer.command_line import add_decoding, run, settings
from hmer.config import Decoding
from hmer.errors import HmerError
from hmer.recognizer import Recognition, Recognizer


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line a file; 1 if a file could not be read."""
    parser = ArgumentParser(
        prog="predict.py", allow_abbrev=False, description="Read formulas from pictures or .inkml files."
    )
    parser.add_argument("files", nargs="+", type=str)
    parser.add_argument("--checkpoint", type=str, default="handwritten", help="a bundled name or a checkpoint folder")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_decoding(parser)
    options = parser.parse_args(None if argv is None else list(argv))
    decoding = settings(Decoding, options)
    recognizer = Recognizer.load(options.checkpoint)
    status = 0
    for file in options.files:
        try:
            answer = recognizer.recognize([Path(file)], decoding)[0]
        except HmerError as error:
            status = 1
            if options.json:
                print(json.dumps({"file": file, "error": str(error)}, ensure_ascii=False))
            else:
                print(f"{file}: {error}", file=sys.stderr)
            continue
        print(json.dumps(as_json(file, answer), ensure_ascii=False) if options.json else f"{file}\t{answer.latex}")
        sys.stdout.flush()
    return status


def as_json(file: str, answer: Recognition) -> dict[str, Any]:
    """The object that --json prints for one file."""
    return {
        "file": file,
        "latex": answer.latex,
        "tokens": list(answer.tokens),
        "confidence": answer.confidence,
        "alternatives": [
            {"latex": other.latex, "tokens": list(other.tokens), "probability": other.probability}
            for other in answer.alternatives
        ],
        "checkpoint": answer.checkpoint,
        "seconds": answer.seconds,
    }


if __name__ == "__main__":
    sys.exit(run(main))
