"""What the scripts share: settings as flags, times, and HmerError as one line on stderr."""

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from jsonargparse import ArgumentParser, Namespace
from tqdm import tqdm

from hmer.config import Decoding, from_dict
from hmer.errors import ConfigError, HmerError

ConfigT = TypeVar("ConfigT")


def add_decoding(parser: ArgumentParser) -> None:
    """The fields of Decoding as plain flags."""
    parser.add_class_arguments(Decoding, as_group=True)


def settings(config_class: type[ConfigT], options: Namespace) -> ConfigT:
    """The part of the options that belongs to a configuration class, checked."""
    names = {field.name for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    values: dict[str, Any] = {key: value for key, value in options.as_dict().items() if key in names}
    return from_dict(config_class, values)


def parse_time(text: str | None) -> datetime | None:
    """A time as a person writes it, or None for none. Raises ConfigError."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a time; write it as 2026-11-30 or 2026-11-30T18:00.") from None


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; give it the bytes that are there, and the bytes in all."""
    with tqdm(desc=what, unit="B", unit_scale=True, disable=None) as bar:

        def show(there: int, total: int) -> None:
            bar.total = total
            bar.update(there - bar.n)

        yield show


def run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Call a script's main; what the user can mend is printed as one line, and the exit status is 1."""
    # Pictures of many shapes: the default cache of compiled kernels is too small, and they would be compiled for ever.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "20000")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        return main(argv)
    except HmerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
