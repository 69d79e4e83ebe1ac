"""Dataset folders into the store: the way back from annotations.export, and in for others' pictures."""

from dataclasses import dataclass
from pathlib import Path

from annotations.records import Status
from annotations.store import AnnotationStore
from hmer.datasets.folder import IMAGE_SUFFIXES, read_rows
from hmer.errors import BadImage, DatasetError, LatexError


@dataclass(frozen=True)
class Refusal:
    """A row of labels.tsv that could not be used, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class ImportCounts:
    """What became of the rows: `created`, `known` (in the store already) or `refused`, with reasons."""

    rows: int
    created: int
    known: int
    refused: tuple[Refusal, ...]


def import_dataset(
    store: AnnotationStore,
    folder: str | Path,
    *,
    status: Status | str = Status.ACCEPTED,
    annotator: str = "",
    source: str = "",
) -> ImportCounts:
    """Save every row of a dataset folder; a row whose picture or LaTeX is bad is named in the result.

    The columns `writer` and `source` are used where they say something, `annotator` and `source` elsewhere.
    Rows are saved one by one: repeating an import that was stopped saves the rest. Raises DatasetError when
    labels.tsv itself is missing or malformed, and StoreError when the store fails.
    """
    folder = Path(folder).absolute()
    status = Status.of(status)
    rows = read_rows(folder)
    created, refused = 0, []
    for row in rows:
        try:
            saved = store.add(
                _read_picture(folder, row["file"]),
                correction=row["latex"],
                status=status,
                annotator=row.get("writer") or annotator,
                source=row.get("source") or source,
            )
        except (BadImage, LatexError, DatasetError) as error:
            refused.append(Refusal(row["file"], str(error)))
        else:
            created += saved.created
    return ImportCounts(len(rows), created, len(rows) - created - len(refused), tuple(refused))


def _read_picture(folder: Path, file: str) -> bytes:
    path = folder / file
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise DatasetError(f"Only pictures can be imported ({', '.join(IMAGE_SUFFIXES)}); convert it.")
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DatasetError("The picture lies outside of the dataset folder; move it in.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise DatasetError("The picture is missing or cannot be read.") from error
