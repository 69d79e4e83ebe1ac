"""What travels when a checkpoint or collected annotations go to the Hub: decided and listed first, then pushed."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmer import cards, hub
from hmer import checkpoint as checkpoints
from hmer.checkpoint import CARD, CONFIG, WEIGHTS
from hmer.datasets.folder import IMAGE_SUFFIXES, LABELS, read_rows
from hmer.datasets.imagefolder import METADATA, read_imagefolder, write_imagefolder
from hmer.errors import CheckpointError, DatasetError, HubError

PICTURE_SETS = ("replay", "regression")
RIGHTS = (
    "I may give these pictures and their LaTeX away under this licence: they are mine, or whoever wrote them agreed, "
    "and they show nothing that identifies a person."
)
MAX_DATASET_FILES, MAX_DATASET_FILE_BYTES = 200_000, 200_000_000


@dataclass(frozen=True)
class Plan:
    """What a push would send: content by path, and what stays behind with the reason. `licence` as on the card."""

    kind: hub.Kind
    files: Mapping[str, hub.Content]
    stays: Mapping[str, str]
    licence: str
    message: str

    def listing(self) -> str:
        """What travels and what does not, for a person to read; pictures are summed up by folder."""
        folders: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for path, content in self.files.items():
            head, slash, _ = path.rpartition("/")
            key = f"{head}/" if slash else path
            folders[key] += 1
            sizes[key] += len(content) if isinstance(content, bytes) else content.stat().st_size
        lines = [f"travels, under {self.licence} ({sum(sizes.values()) / 1e6:.1f} MB in all):"]
        for key, count in folders.items():
            noun = f"  {count} files" if key.endswith("/") else ""
            lines.append(f"  {key:<24} {sizes[key] / 1e3:>10,.1f} kB{noun}")
        if self.stays:
            lines.append("stays here:")
            lines += [f"  {path:<24} {reason}" for path, reason in self.stays.items()]
        return "\n".join(lines)


def destination(text: str, kind: hub.Kind) -> hub.Repository:
    """The repository that somebody names as owner/name or as a reference. Raises HubError."""
    prefix = f"{hub.SCHEME}{'datasets/' if kind == 'dataset' else ''}"
    repository = hub.parse(text if hub.is_reference(text) else prefix + text)
    if repository.kind != kind or repository.revision != hub.MAIN:
        raise HubError(f"{text!r}: give owner/name of a {kind} repository, without a revision.")
    return repository


def told(changes: hub.Changes, to: hub.Repository) -> str:
    """What a push would do to what a repository holds now, for a person to read."""
    if not changes.head:
        return f"{to} is made anew"
    lines = [f"{to}: {len(changes.added)} files new, {len(changes.changed)} changed, {len(changes.removed)} removed"]
    lines += [f"  removed   {path}" for path in _by_folder(changes.removed)]
    if changes.lost:
        lines.append("hmer did not make this repository: " + ", ".join(_by_folder(changes.lost)) + " would be lost")
    return "\n".join(lines)


def _by_folder(paths: Sequence[str]) -> list[str]:
    """Paths for a person: many of one folder as one."""
    count = Counter(path.rpartition("/")[0] for path in paths)
    few = [path for path in paths if "/" not in path or count[path.rpartition("/")[0]] == 1]
    return few + [f"{folder}/ ({many} files)" for folder, many in count.items() if folder and many > 1]


def push(
    plan: Plan,
    to: hub.Repository,
    *,
    private: bool = True,
    tag: str = "",
    message: str = "",
    seen: hub.Changes | None = None,
    replace_foreign: bool = False,
    progress: hub.Progress | None = None,
) -> hub.Pushed:
    """Send what the plan lists; see `hub.push`. Raises HubError."""
    return hub.push(
        to, plan.files, message or plan.message,
        private=private, tag=tag, seen=seen, replace_foreign=replace_foreign, progress=progress,
    )  # fmt: skip


# --- checkpoints ----------------------------------------------------------------------------------------------


def checkpoint_plan(
    reference: str | Path,
    *,
    licence: str = "",
    parent_licence: str = "",
    base_model: str = "",
    datasets: Sequence[str] = (),
    evaluations: Sequence[Path | str] = (),
    pictures: bool = False,
) -> Plan:
    """What of a checkpoint would travel: weights, configuration, card, NOTICE, and pictures that were public before.

    `licence` empty: the card's, else the parent's. `parent_licence` is for a parent that is not on this computer.
    `evaluations` are JSON files of evaluate.py about this very checkpoint. Files of replay/ and regression/ that came
    with no bundled or pulled checkpoint are somebody's corrections and stay, unless `pictures` is set. Raises
    CheckpointError for one that cannot be loaded, and HubError for a licence that is missing or looser than the parent's.
    """
    folder = checkpoints.resolve(reference)
    checkpoint = checkpoints.load(folder)
    parent = _parent_of(checkpoint.config.parent)
    chosen = _chosen_licence(folder, checkpoint.config.parent, licence, parent_licence)
    files: dict[str, hub.Content] = {WEIGHTS: folder / WEIGHTS, CONFIG: folder / CONFIG}
    card = _read(folder / CARD) if (folder / CARD).is_file() else f"# {checkpoint.config.name}\n"
    files[CARD] = cards.model_card(
        card,
        name=checkpoint.config.name,
        licence=chosen,
        base_model=base_model or (hub.parse(parent).id if parent and hub.is_reference(parent) else ""),
        datasets=datasets,
        evaluations=[_figures(file, checkpoint.id) for file in evaluations],
    ).encode()
    stays: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name in files or path.name in PICTURE_SETS:
            continue
        if path.is_file() and any(pattern.fullmatch(path.name) for pattern, _ in checkpoints.TRAVELS):
            files[path.name] = path
        else:
            stays[path.name] = "no part of a checkpoint"
    public = _public_files() if not pictures else frozenset()
    for name in PICTURE_SETS:
        if (folder / name).is_dir():
            sent, kept = _picture_set(folder / name, public, everything=pictures)
            files |= {f"{name}/{path}": content for path, content in sent.items()}
            if kept:
                stays[f"{name}/"] = f"{kept} files that came with no released checkpoint: corrections"
    return Plan("model", files, stays, chosen, f"{checkpoint.id}, by hmer {checkpoint.config.hmer_version}")


def _parent_of(identity: str) -> str:
    """The reference of the checkpoint with this id, if it is on this computer; else empty. Pulled ones first."""
    for reference, folder in checkpoints.known().items() if identity else ():
        try:
            if checkpoints.identify(folder) == identity:
                return reference
        except CheckpointError:  # a damaged one is nobody's parent
            continue
    return ""


def _chosen_licence(folder: Path, parent: str, asked: str, parent_licence: str) -> str:
    """The licence to push under, checked against the parent's, and for a released checkpoint against its own. Raises HubError."""
    theirs = _inherited(parent) or parent_licence
    chosen = asked or cards.licence_named_in(folder) or theirs
    if parent and not theirs:
        raise HubError(
            f"The parent {parent} is not on this computer, so its licence is not known: pull it, or name its licence."
        )
    if not chosen:
        raise HubError("No licence: the card names none; give one, such as cc-by-4.0.")
    if theirs:
        cards.check_licence(chosen, theirs)
    if folder in _released() and (own := cards.licence_named_in(folder)) not in ("", chosen):
        cards.check_licence(chosen, own)  # somebody's work as it is: under its terms
    return chosen


def _released() -> list[Path]:
    """The folders of bundled and pulled checkpoints."""
    return list({**checkpoints.pulled(), **checkpoints.bundled()}.values())


def _inherited(identity: str) -> str:
    """The licence of a checkpoint by its id: its card's, or that of its own parent; empty where nobody knows."""
    seen: set[str] = set()
    while identity and identity not in seen:
        seen.add(identity)
        reference = _parent_of(identity)
        if not reference:
            return ""
        folder = checkpoints.known()[reference]
        licence = cards.licence_named_in(folder)
        if licence:
            return licence
        identity = checkpoints.read_config(folder).parent
    return ""


def _figures(file: Path | str, identity: str) -> Mapping[str, Any]:
    """An evaluation of this checkpoint and no other. Raises HubError."""
    try:
        figures = json.loads(_read(Path(file)))
    except ValueError as error:
        raise HubError(f"{file}: is no JSON of evaluate.py ({error}).") from error
    if not isinstance(figures, dict) or not {"checkpoint", "data", "n", "exprate"} <= set(figures):
        raise HubError(f"{file}: is no evaluation; make one with evaluate.py --json.")
    if figures["checkpoint"] != identity:
        raise HubError(f"{file}: measures {figures['checkpoint']}, this is {identity}; evaluate the one that you push.")
    return figures


def _public_files() -> frozenset[str]:
    """Hashes of the files in the replay and regression sets of bundled and pulled checkpoints."""
    return frozenset(
        _sha256(path) for folder in _released() for name in PICTURE_SETS for path in _files_of(folder / name)
    )


def _picture_set(folder: Path, public: frozenset[str], *, everything: bool) -> tuple[dict[str, hub.Content], int]:
    """The files of a dataset folder that may travel, with labels for just these and no names; how many stay."""
    if _sha256(folder / LABELS) in public and all(_sha256(path) in public for path in _files_of(folder)):
        return {path.name: path for path in _files_of(folder)}, 0
    rows = read_rows(folder)
    sent = {
        row["file"]: folder / row["file"]
        for row in rows
        if Path(row["file"]).name == row["file"]
        and (folder / row["file"]).is_file()
        and (everything or _sha256(folder / row["file"]) in public)
    }
    if not sent:
        return {}, len(rows)
    lines = ["file\tlatex", *(f"{row['file']}\t{row['latex']}" for row in rows if row["file"] in sent)]
    return {LABELS: ("\n".join(lines) + "\n").encode(), **sent}, len({row["file"] for row in rows} - set(sent))


def _files_of(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.glob("*")) if path.is_file())


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HubError(f"{path}: cannot be read ({error}).") from error


# --- data sets ------------------------------------------------------------------------------------------------


def dataset_plan(dataset: Path | str, working: Path | str, *, licence: str, title: str, rights: bool) -> Plan:
    """What of a dataset folder would travel, as imagefolder with a card, made in the folder `working`.

    `rights`: whether the person made the statement RIGHTS. Raises HubError without it or for a licence that is not
    known, and DatasetError.
    """
    if cards.conditions(licence) is None:
        known = ", ".join(["cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-sa-4.0", *cards.LICENCES])
        raise HubError(f"The licence {licence!r} is not known; choose one such as {known}.")
    if not rights:
        raise HubError(f"Before pictures are given away, state that: {RIGHTS}")
    out = Path(working)
    facts = write_imagefolder(dataset, out)
    card = cards.dataset_card(facts, title=title, licence=licence, statement=RIGHTS)
    files: dict[str, hub.Content] = {CARD: card.encode()}
    files |= {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    return Plan("dataset", files, {}, licence, f"{sum(facts.rows.values())} annotations")


def pull_dataset(reference: str, out: Path | str, *, progress: hub.Progress | None = None) -> int:
    """Pull a data set in imagefolder form and write it as dataset folder `out`; gives the number of its rows.

    Asks for the newest commit of a branch. Raises HubError, and DatasetError for one of another form.
    """
    repository = hub.parse(reference)
    if repository.kind != "dataset":
        raise DatasetError(f"{reference}: names a model; a data set is hf://datasets/owner/name.")

    def accept(files: Sequence[hub.RemoteFile]) -> None:
        for file in files:
            name = Path(file.path)
            form = name.name in (METADATA, CARD, "LICENSE", "NOTICE") or name.suffix.lower() in IMAGE_SUFFIXES
            if not form or file.size > MAX_DATASET_FILE_BYTES:
                problem = "which belongs to no imagefolder" if not form else f"of {file.size:,} bytes"
                raise DatasetError(f"{reference}: holds {file.path!r}, {problem}; nothing was fetched.")
        if len(files) > MAX_DATASET_FILES or not any(Path(file.path).name == METADATA for file in files):
            raise DatasetError(f"{reference}: is no imagefolder with {METADATA}; nothing was fetched.")

    folder = hub.pull(reference, accept=accept, check=lambda _: None, refresh=True, progress=progress)
    rows = read_imagefolder(folder, out, source=f"{hub.SCHEME}datasets/{repository.id}")
    hub.remove_superseded(reference)
    return rows
