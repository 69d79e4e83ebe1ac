"""Many pictures at once: files, folders and zip archives, within limits, each with the name it had."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from annotations.imports import Refusal
from hmer.datasets.folder import IMAGE_SUFFIXES

SUFFIXES = (*IMAGE_SUFFIXES, ".gif", ".tif", ".tiff")

# What the unpackers raise for bytes that are not theirs.
_DAMAGED = (OSError, EOFError, ValueError, struct.error, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Limits:
    """What is taken in at once.

    `total_bytes` counts what comes out of archives, whatever they claim, also of what is too large; `entries` counts
    what is no picture, too.
    """

    files: int = 2_000
    entries: int = 20_000
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
    for entries, (item, read_bytes) in enumerate(_files(paths, limits), start=1):
        count, total = count + isinstance(item, Found), total + read_bytes
        too_much = ""
        if count > limits.files:
            too_much = f"{limits.files} pictures"
        elif total > limits.total_bytes:
            too_much = f"{limits.total_bytes // 1_000_000} MB"
        elif entries > limits.entries:
            too_much = f"{limits.entries} files"
        if too_much:
            name = item.name if isinstance(item, Found) else item.file
            yield Refusal(name, f"More than {too_much} at once; send the rest in a second batch.")
            return
        yield item


Read = tuple[Found | Refusal, int]  # and how many bytes were read for it


def _files(paths: Sequence[Path], limits: Limits) -> Iterator[Read]:
    for path in paths:
        if path.is_dir():
            for inner in sorted(path.rglob("*")):
                if inner.is_file() and not _is_clutter(inner.relative_to(path)):
                    yield _from_file(inner, inner.relative_to(path).as_posix(), limits)
        elif path.suffix.lower() == ".zip":
            yield from _from_zip(path, limits)
        else:
            yield _from_file(path, path.name, limits)


def _from_file(path: Path, name: str, limits: Limits) -> Read:
    refused = _refused_by_name(path.suffix)
    if refused:
        return Refusal(name, refused), 0
    try:
        with path.open("rb") as file:
            content = file.read(limits.file_bytes + 1)
    except OSError:
        return Refusal(name, "The file cannot be read."), 0
    return _within(name, content, limits)


def _from_zip(path: Path, limits: Limits) -> Iterator[Read]:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                inner = PurePosixPath(entry.filename.replace("\\", "/"))
                if entry.is_dir() or _is_clutter(inner):
                    continue
                name = f"{path.name}: {entry.filename}"
                refused = _refused_by_name(inner.suffix)
                if refused:
                    yield Refusal(name, refused), 0
                    continue
                try:
                    with archive.open(entry) as file:  # read so far and no further, whatever size is claimed
                        content = file.read(limits.file_bytes + 1)
                except NotImplementedError as error:
                    yield Refusal(name, f"It is packed in an unusual way ({error}); unpack the archive first."), 0
                    continue
                except RuntimeError:  # how zipfile says that it needs a password
                    yield Refusal(name, "The archive is encrypted; unpack it first."), 0
                    return
                except (zipfile.BadZipFile, *_DAMAGED) as error:
                    # What was unpacked until then cannot be known: count all that may have been.
                    yield Refusal(name, f"The archive is damaged here ({error})."), limits.file_bytes
                    continue
                yield _within(name, content, limits)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        yield Refusal(path.name, "The file is no zip archive, or a damaged one; pack it anew."), 0


def _within(name: str, content: bytes, limits: Limits) -> Read:
    if len(content) > limits.file_bytes:
        too_large = f"The picture is larger than {limits.file_bytes // 1_000_000} MB; crop it to the formula."
        return Refusal(name, too_large), len(content)
    return Found(name, content), len(content)


def _refused_by_name(suffix: str) -> str | None:
    if suffix.lower() in SUFFIXES:
        return None
    return f"Only pictures are taken in ({', '.join(SUFFIXES)})."


def _is_clutter(path: Path | PurePosixPath) -> bool:
    hidden = (part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in path.parts)
    return any(hidden) or path.name in ("Thumbs.db", "desktop.ini")
