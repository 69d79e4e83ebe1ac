"""Many pictures at once: files, folders and zip archives, within limits, each with the name it had."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from annotations.imports import Refusal
from hmer.datasets.folder import IMAGE_SUFFIXES

SUFFIXES = (*IMAGE_SUFFIXES, ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Limits:
    """What is taken in at once. `total_bytes` counts what comes out of archives, whatever they claim."""

    files: int = 2_000
    file_bytes: int = 20_000_000
    total_bytes: int = 1_000_000_000


@dataclass(frozen=True)
class Found:
    """A file that may be a picture; `name` is for people and never used as a path."""

    name: str
    content: bytes = field(repr=False)


def pictures_in(paths: Sequence[Path], limits: Limits | None = None) -> Iterator[Found | Refusal]:
    """The pictures among files, in folders and in zip archives, one by one; what is no picture is named with a reason.

    Beyond a limit nothing more is read and the last item says so. Hidden files, and what archivers add, are passed
    over. An archive in an archive is not opened.
    """
    limits = limits or Limits()
    count = total = 0
    for item in _files(paths, limits):
        if isinstance(item, Found):
            count, total = count + 1, total + len(item.content)
            if count > limits.files:
                yield Refusal(item.name, f"More than {limits.files} pictures at once; send the rest in a second batch.")
                return
            if total > limits.total_bytes:
                megabytes = limits.total_bytes // 1_000_000
                yield Refusal(item.name, f"More than {megabytes} MB at once; send the rest in a second batch.")
                return
        yield item


def _files(paths: Sequence[Path], limits: Limits) -> Iterator[Found | Refusal]:
    for path in paths:
        if path.is_dir():
            for inner in sorted(path.rglob("*")):
                if inner.is_file() and not _is_clutter(inner.relative_to(path)):
                    yield _from_file(inner, inner.relative_to(path).as_posix(), limits)
        elif path.suffix.lower() == ".zip":
            yield from _from_zip(path, limits)
        else:
            yield _from_file(path, path.name, limits)


def _from_file(path: Path, name: str, limits: Limits) -> Found | Refusal:
    refused = _refused_by_name(path.suffix)
    if refused:
        return Refusal(name, refused)
    try:
        with path.open("rb") as file:
            content = file.read(limits.file_bytes + 1)
    except OSError:
        return Refusal(name, "The file cannot be read.")
    return _within(name, content, limits)


def _from_zip(path: Path, limits: Limits) -> Iterator[Found | Refusal]:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                inner = PurePosixPath(entry.filename.replace("\\", "/"))
                if entry.is_dir() or _is_clutter(inner):
                    continue
                name = f"{path.name}: {entry.filename}"
                refused = _refused_by_name(inner.suffix)
                if refused:
                    yield Refusal(name, refused)
                    continue
                try:
                    with archive.open(entry) as file:  # read so far and no further, whatever size is claimed
                        content = file.read(limits.file_bytes + 1)
                except RuntimeError:  # how zipfile says that it needs a password
                    yield Refusal(name, "The archive is encrypted; unpack it first.")
                    return
                except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError) as error:
                    yield Refusal(name, f"The archive is damaged here ({error}).")
                    continue
                yield _within(name, content, limits)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        yield Refusal(path.name, "The file is no zip archive, or a damaged one; pack it anew.")


def _within(name: str, content: bytes, limits: Limits) -> Found | Refusal:
    if len(content) > limits.file_bytes:
        return Refusal(name, f"The picture is larger than {limits.file_bytes // 1_000_000} MB; crop it to the formula.")
    return Found(name, content)


def _refused_by_name(suffix: str) -> str | None:
    if suffix.lower() in SUFFIXES:
        return None
    return f"Only pictures are taken in ({', '.join(SUFFIXES)})."


def _is_clutter(path: Path | PurePosixPath) -> bool:
    hidden = (part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in path.parts)
    return any(hidden) or path.name in ("Thumbs.db", "desktop.ini")
