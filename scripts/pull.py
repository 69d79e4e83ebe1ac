"""Fetch checkpoints from the Hugging Face Hub, or list what somebody offers there.

    python scripts/pull.py hf://ada/my-writing
    python scripts/pull.py --offers ada

`--checkpoint hf://ada/my-writing` fetches too, the first time only; this asks for the newest version each time.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser

from hmer import checkpoint, hub
from hmer.command_line import progress_bar, run


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each checkpoint."""
    parser = ArgumentParser(prog="pull.py", allow_abbrev=False, description="Fetch checkpoints from the Hub.")
    parser.add_argument("references", nargs="*", type=str, help="hf://owner/name or hf://owner/name@revision")
    parser.add_argument("--offers", type=str | None, help="list what this person or organisation offers")
    options = parser.parse_args(None if argv is None else list(argv))
    if options.offers is not None:
        for offer in hub.offers(options.offers):
            print(offer.reference, offer.updated, offer.licence, "private" if offer.private else "public", sep="\t")
    for reference in options.references:
        with progress_bar(reference) as show:
            folder = checkpoint.pull(reference, progress=show)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{reference}\t{checkpoint.identify(folder)}\tcommit {folder.name}\t{size / 1e6:.1f} MB")
        for commit in checkpoint.remove_superseded(reference):
            print(f"{reference}\tan earlier version was removed, commit {commit}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
