"""Look after the annotation store: list, search, import, export, back up, restore, history, purge.

    python scripts/manage_annotations.py list --symbol '\\alpha' --status pending
    python scripts/manage_annotations.py export corrections/ --held_out_share 0.2
    python scripts/manage_annotations.py export corrections.jsonl --format jsonl
    python scripts/manage_annotations.py import corrections/ --annotator ada
    python scripts/manage_annotations.py import hf://datasets/ada/my-formulas --status pending
    python scripts/manage_annotations.py backup annotations-backup.db
    python scripts/manage_annotations.py restore annotations-backup.db
    python scripts/manage_annotations.py history 12
    python scripts/manage_annotations.py purge 12

The store is annotations.db in HMER_HOME unless --store names another.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser, Namespace

from annotations import AnnotationStore, Selection, Status, import_annotations, write_annotations
from annotations.export import DATASET, FORMATS
from annotations.imports import AUTO, READERS
from hmer import hub
from hmer.command_line import parse_time
from hmer.errors import HmerError
from hmer.home import store_url
from hmer.latex import pretty

STATUSES = ", ".join(Status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status is 1 when something could not be done."""
    arguments = build_parser().parse_args(None if argv is None else list(argv))
    command: str = arguments.subcommand
    options: Namespace = arguments[command]
    try:
        # Only what fills a store may begin one: a mistyped --store is an error elsewhere.
        with AnnotationStore(options.store or store_url(), create=command in ("import", "restore")) as store:
            return COMMANDS[command](store, options)
    except HmerError as error:
        print(error, file=sys.stderr)
        return 1


def build_parser() -> ArgumentParser:
    """The command line, one subparser a subcommand."""
    parser = ArgumentParser(
        prog="manage_annotations.py", allow_abbrev=False, description="Look after the annotation store."
    )
    subcommands = parser.add_subcommands()
    for name, explanation in {
        "list": "Count the annotations and show the newest.",
        "import": "Save the rows of a dataset folder, an image folder, CSV, JSON lines, CROHME ink or .tex pairs.",
        "export": "Write annotations as a dataset folder, an image folder, CSV or JSON lines.",
        "backup": "Copy the whole store to one file while it stays in use.",
        "restore": "Replace the whole store by a backup.",
        "history": "Show who changed what, the newest change first.",
        "undo": "Take one change back, by the number that `history` shows.",
        "purge": "Erase a picture for good, with every annotation of it and its history.",
    }.items():
        sub = ArgumentParser(allow_abbrev=False, description=explanation)
        sub.add_argument("--store", type=str | None, help="path or SQLAlchemy URL (default: under HMER_HOME)")
        if name in ("import", "export"):
            hint = ", or hf://datasets/owner/name" if name == "import" else ""
            sub.add_argument("path", type=str, help=f"the folder, or the file of JSON lines{hint}")
            kinds, usual = ((AUTO, *READERS), AUTO) if name == "import" else (tuple(FORMATS), DATASET)
            sub.add_argument("--format", type=str, default=usual, help=f"one of {', '.join(kinds)}")
        if name in ("backup", "restore"):
            sub.add_argument("file", type=str, help="the backup, one SQLite file")
        if name in ("list", "export"):
            statuses = list(Status) if name == "list" else [Status.ACCEPTED]
            sub.add_argument("--status", nargs="+", default=[str(status) for status in statuses], help=f"of {STATUSES}")
            sub.add_argument("--annotator", type=str | None, help="only this annotator's")
            sub.add_argument("--source", type=str | None, help="only from this source")
            sub.add_argument("--since", type=str | None, help="made at or after this time, as 2026-11-30")
            sub.add_argument("--until", type=str | None, help="made before this time")
            sub.add_argument("--latex", type=str | None, help="only what holds this piece of LaTeX")
            sub.add_argument("--symbol", type=str | None, help="only what holds this symbol")
        if name in ("list", "history"):
            sub.add_argument("--limit", type=int, default=20, help="how many to show")
        if name == "import":
            sub.add_argument("--status", type=str | None, help=f"of {STATUSES} (default: the row's own, or accepted)")
            sub.add_argument("--annotator", type=str, default="", help="where a row names no writer")
            sub.add_argument("--source", type=str, default="", help="where a row names no source")
        if name == "export":
            sub.add_argument("--held_out_share", type=float, default=0.0, help="share of formulas, 0 to 1")
        if name in ("export", "backup", "restore"):
            sub.add_argument("--overwrite", action="store_true", help="replace what is there")
        if name == "history":
            sub.add_argument("annotation", nargs="?", type=int | None, help="of this annotation (default: of all)")
        if name == "purge":
            sub.add_argument("annotation", type=int, help="the annotation's number, as `list` shows it")
        if name == "undo":
            sub.add_argument("change", type=int, help="the change's number")
        if name == "undo":
            sub.add_argument("--by", type=str, default="", help="whose undoing it is, for the history")
        subcommands.add_subcommand(name, sub, help=explanation)
    return parser


def selection_of(options: Namespace) -> Selection:
    """The filters of `list` and `export`."""
    return Selection(
        tuple(options.status),
        options.annotator,
        options.source,
        parse_time(options.since),
        parse_time(options.until),
        options.latex,
        options.symbol,
    )


def list_annotations(store: AnnotationStore, options: Namespace) -> int:
    """Print the counts by status and the newest annotations, one a line."""
    selection = selection_of(options)
    counts = store.count_by_status(selection)
    print(f"{sum(counts.values())} annotations in {store.name}")
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    for annotation in store.find(selection, limit=options.limit):
        latex = "" if annotation.tokens is None else pretty(list(annotation.tokens))
        made = f"{annotation.created_at.astimezone():%Y-%m-%d %H:%M}"
        print(annotation.id, made, annotation.status, annotation.annotator, latex, sep="\t")
    return 0


def import_rows(store: AnnotationStore, options: Namespace) -> int:
    """Import a folder or file, or a data set of the Hub; 1 when a row was refused."""
    with tempfile.TemporaryDirectory(prefix="hmer-import-") as working:
        path = options.path
        if hub.is_reference(path):
            from hmer import publish  # imports torch, which nothing else here needs

            path = str(Path(working) / "pulled")
            publish.pull_dataset(options.path, path)
        counts = import_annotations(
            store, path, options.format,
            status=options.status, annotator=options.annotator, source=options.source,
        )  # fmt: skip
    refused = len(counts.refused)
    print(f"{counts.rows} rows: {counts.created} saved, {counts.known} known already, {refused} refused")
    for refusal in counts.refused:
        print(f"{refusal.file}: {refusal.reason}", file=sys.stderr)
    return 1 if counts.refused else 0


def export_rows(store: AnnotationStore, options: Namespace) -> int:
    """Export the selected annotations."""
    counts = write_annotations(
        store, options.path, options.format,
        selection=selection_of(options), held_out_share=options.held_out_share, overwrite=options.overwrite,
    )  # fmt: skip
    print(
        f"{counts.rows} annotations of {counts.images} pictures in {options.path}: "
        f"{counts.train} to train on, {counts.held_out} held out"
    )
    return 0


def show_history(store: AnnotationStore, options: Namespace) -> int:
    """Print the changes: number, time, annotation, who, what."""
    for change in store.history(options.annotation, limit=options.limit):
        made = f"{change.made_at.astimezone():%Y-%m-%d %H:%M}"
        summary = " ".join(change.summary.split())
        print(change.id, made, change.annotation_id, change.annotator, summary, sep="\t")
    return 0


def undo(store: AnnotationStore, options: Namespace) -> int:
    """Take one change back."""
    annotation = store.undo(options.change, by=options.by)
    print(f"change {options.change} undone" + ("" if annotation else "; the annotation is gone"))
    return 0


def purge(store: AnnotationStore, options: Namespace) -> int:
    """Erase a picture and all that hangs on it."""
    count = store.purge(options.annotation)
    print(f"1 picture and {count} annotations erased; backups and exports made before still hold them")
    return 0


def back_up(store: AnnotationStore, options: Namespace) -> int:
    """Copy the store to a file."""
    store.backup(options.file, overwrite=options.overwrite)
    print(f"{store.count()} annotations backed up to {options.file}")
    return 0


def restore(store: AnnotationStore, options: Namespace) -> int:
    """Replace the store by a backup."""
    store.restore(options.file, overwrite=options.overwrite)
    print(f"{store.count()} annotations restored to {store.name}")
    return 0


COMMANDS = {
    "list": list_annotations,
    "import": import_rows,
    "export": export_rows,
    "backup": back_up,
    "restore": restore,
    "history": show_history,
    "undo": undo,
    "purge": purge,
}


if __name__ == "__main__":
    sys.exit(main())
