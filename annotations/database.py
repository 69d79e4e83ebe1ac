"""The database beneath the annotation store: where it is, its schema, transactions, copies. Knows no annotations."""

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import alembic.command
import alembic.util
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from annotations import sqlite
from hmer.errors import StoreError

T = TypeVar("T")

_ERASED_TRIES = 5  # how often the log of writes is emptied after purging, while others read


class Database:
    """An SQL database, brought to the current schema when it is opened; every failure is a StoreError with advice.

    `where` is a path (of an SQLite file, made when missing) or an SQLAlchemy URL. With `create` off a database
    that is not there yet is an error. Safe to share between threads.
    """

    def __init__(self, where: str | Path, *, create: bool = True, busy_timeout_s: float = 10.0) -> None:
        self._url = _parse_url(where)
        self.name = self._url.render_as_string(hide_password=True)
        self._file = _sqlite_file(self._url)
        self._busy_timeout_s = busy_timeout_s
        if self._file is not None:
            self.name = str(self._file)
            self._make_room_for(self._file, create)
        self._erased_in_log = False
        settings: dict[str, Any] = {}
        if self._url.get_backend_name() == "sqlite":
            settings["connect_args"] = {"timeout": busy_timeout_s, "check_same_thread": False}
            if self._file is None:  # in memory: one connection is the database, so threads take turns
                settings |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
        try:
            self._engine = create_engine(self._url, **settings)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise StoreError(
                f"The annotation store {self.name} cannot be used: {error}. "
                "Install the driver for that database (of PostgreSQL: pip install 'psycopg[binary]') or give a path."
            ) from error
        if self._url.get_backend_name() == "sqlite":
            sqlite.prepare_engine(self._engine)
        self._writer = self._engine.execution_options(**{sqlite.WRITE: True})
        try:
            self._upgrade(create)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; it must not be used afterwards."""
        self._engine.dispose()

    # --- transactions -------------------------------------------------------------------------------------

    def write(self, work: Callable[[Session], T]) -> T:
        """Do the work in a writing transaction, again if somebody else saved the same meanwhile."""
        attempts = 3
        for attempt in range(attempts):
            try:
                with self.transaction(write=True) as session:
                    result = work(session)
                if self._erased_in_log:
                    with contextlib.suppress(StoreError):  # what was written is written
                        self._empty_log(1)
                return result
            except IntegrityError as error:
                if attempt == attempts - 1:
                    raise StoreError(
                        f"The annotation store {self.name} refused ({error.orig}). Nothing was saved."
                    ) from error
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Session]:
        """All of it or nothing; with `write` nobody else writes meanwhile."""
        with _explained(f"annotation store {self.name}", nothing_saved=write):
            engine = self._writer if write else self._engine
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session

    def empty_log(self) -> None:
        """Of an SQLite file, overwrite the log of writes too, where erased rows still stand.

        While others read, it has to wait for them; when they go on and on, it is emptied after a later write.
        """
        if self._url.get_backend_name() == "sqlite":
            self._empty_log(_ERASED_TRIES)

    def _empty_log(self, tries: int) -> None:
        with self._raw_connection() as connection:
            self._erased_in_log = not sqlite.empty_log(connection, tries)

    # --- copies -------------------------------------------------------------------------------------------

    def backup(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a copy of everything to one SQLite file, while the database stays in use.

        Raises StoreError where a file stands at `path` and `overwrite` is off, where it is the database itself, and for
        a database server (which has tools of its own).
        """
        path = Path(path).absolute()
        if path.exists():
            if self._file is not None and path.samefile(self._file):
                raise StoreError(f"{path} is the annotation store itself; give the backup another name.")
            if not overwrite:
                raise StoreError(f"{path} exists already; choose another name, or ask for overwriting.")
        with self._raw_connection() as connection, _explained(f"backup {path}"):
            sqlite.copy_to_file(connection, path)

    def restore(self, path: str | Path) -> None:
        """Replace everything by a backup, which is checked and brought to the current schema first.

        Raises StoreError when the file is no sound backup; the database is then as before.
        """
        path = Path(path).absolute()
        if not path.is_file():
            raise StoreError(f"There is no backup at {path}; check the path.")
        with tempfile.TemporaryDirectory() as folder:
            copied = Path(folder) / path.name  # the backup itself stays as it is
            with _explained(f"backup {path}"), contextlib.closing(sqlite3.connect(path)) as kept:
                sqlite.copy_to_file(kept, copied)
            with contextlib.closing(Database(copied, create=False)) as source:
                source.check()
                with source._raw_connection() as content, self._raw_connection() as connection:
                    sqlite.copy(content, connection)

    def check(self) -> None:
        """Read an SQLite store from end to end; raises StoreError when it is damaged."""
        with self._raw_connection() as connection:
            faults = [fault for (fault,) in connection.execute("PRAGMA quick_check")]
        if faults != ["ok"]:
            raise StoreError(f"The annotation store {self.name} is damaged ({faults[0]}); restore a backup.")

    # --- machinery ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _raw_connection(self) -> Iterator[sqlite3.Connection]:
        if self._url.get_backend_name() != "sqlite":
            raise StoreError(
                f"The annotation store {self.name} is no SQLite file; use its server's own backup (pg_dump)."
            )
        with (
            _explained(f"annotation store {self.name}"),
            contextlib.closing(self._engine.raw_connection()) as pooled,
        ):
            yield pooled.driver_connection  # type: ignore[misc]

    def _make_room_for(self, file: Path, create: bool) -> None:
        if not create and not file.exists():
            raise StoreError(f"There is no annotation store at {file}; check the path.")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder {file.parent} for the annotation store cannot be made ({error.strerror}); "
                "choose a folder that you can write to."
            ) from error

    def _upgrade(self, create: bool) -> None:
        """Bring the schema up to date in one transaction, and do nothing when it is."""
        migrations = Config()
        # Config reads % as the start of a reference.
        folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
        migrations.set_main_option("script_location", folder)
        script = ScriptDirectory.from_config(migrations)
        with _explained(f"annotation store {self.name}"):
            if self._url.get_backend_name() == "sqlite":
                with self._raw_connection() as raw:
                    sqlite.use_wal(raw, self._busy_timeout_s)
            with self._engine.begin() as connection:
                revision = MigrationContext.configure(connection).get_current_revision()
            if revision == script.get_current_head():
                return
            if revision is None and not create:
                raise StoreError(f"{self.name} is not an annotation store; check the path.")
            with self._writer.begin() as connection:
                migrations.attributes["connection"] = connection
                try:
                    alembic.command.upgrade(migrations, "head")
                except alembic.util.CommandError as error:
                    raise StoreError(
                        f"The annotation store {self.name} was written by a newer version of hmer "
                        f"(schema {revision}); update hmer."
                    ) from error


@contextlib.contextmanager
def _explained(what: str, *, nothing_saved: bool = False) -> Iterator[None]:
    """Turn what the database raises into a StoreError that a person can act on."""
    try:
        yield
    except IntegrityError:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        why = sqlite.reason(cause) or f"cannot be used ({' '.join(str(cause).split())})"
        raise StoreError(f"The {what} {why}.{' Nothing was saved.' if nothing_saved else ''}") from error


def _parse_url(where: str | Path) -> URL:
    if isinstance(where, str) and "://" in where:
        try:
            return make_url(where)
        except ArgumentError as error:
            raise StoreError(f"{where!r} is not an SQLAlchemy URL; give one, or a path.") from error
    return URL.create("sqlite", database=str(Path(where).expanduser().absolute()))


def _sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database; None for one in memory, one named by a URI, and other databases."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return None
    return Path(name).absolute()
