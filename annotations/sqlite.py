"""What is particular to SQLite: how a connection is set up, a database copied, an error explained."""

import contextlib
import os
import sqlite3
import time
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

WRITE = "hmer_write"  # the execution option that marks a transaction which will write

# Keyed by SQLite's primary result code; each is a sentence's end after the name of the database.
REASONS = {
    sqlite3.SQLITE_BUSY: "is in use by another program; close that program or try again in a moment",
    sqlite3.SQLITE_LOCKED: "is in use by another program; close that program or try again in a moment",
    sqlite3.SQLITE_FULL: "has no room left on its disk; free some space and try again",
    sqlite3.SQLITE_READONLY: "is read-only; allow writing to the file and its folder or choose another",
    sqlite3.SQLITE_PERM: "may not be opened; allow reading and writing the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that the path is right and that you may write there",
    sqlite3.SQLITE_NOTADB: "is not an annotation store; choose another file or restore a backup",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore a backup",
    sqlite3.SQLITE_IOERR: "cannot be read or written because of its disk; check the disk and try again",
}


def reason(error: BaseException | None) -> str | None:
    """Why SQLite refused, for people; None for an error that is not SQLite's or says nothing special."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else REASONS.get(code & 0xFF)  # the upper bits only refine


def prepare_engine(engine: Engine) -> None:
    """Make every connection keep foreign keys, overwrite what is deleted, and begin its transactions."""

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: Any) -> None:
        # The driver begins late and never for reading or for DDL: a save would not be one transaction.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A reader that turns writer fails at once if another was faster; one that begins as a writer waits.
        write = connection.get_execution_options().get(WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def use_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Switch the database to write-ahead logging, so that readers and a writer do not stop each other.

    The switch stays in the file. SQLite does not wait for its lock, hence the loop: two programs may be
    opening a new database at once.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Copy one database over another, wholly or not at all, while others go on using them."""

    def give_up_when_locked(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):  # the driver would try for ever
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = status
            raise error

    source.backup(target, progress=give_up_when_locked)


def copy_to_file(source: sqlite3.Connection, path: Path) -> None:
    """Copy a database to one closed file without side files; whatever stood at `path` is replaced last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with contextlib.closing(sqlite3.connect(unfinished)) as target:
            copy(source, target)
            target.execute("PRAGMA journal_mode = DELETE")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def empty_log(connection: sqlite3.Connection, tries: int) -> bool:
    """Move the write-ahead log into the database file and cut it to nothing, so that erased pages are gone from it.

    Whether that could be done: while others read, it cannot.
    """
    for _ in range(tries):
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return True
        time.sleep(0.1)
    return False
