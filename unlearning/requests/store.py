"""Where the ledger lies: a SQLite file or a PostgreSQL database, one transaction at a time, one writer at a time."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from unlearning import files
from unlearning.errors import StorageError
from unlearning.requests import migration
from unlearning.requests.tables import LEDGER, METADATA, VERSION

PATIENCE_S = 30  # how long a writer waits for the one before it
_WRITERS = 0x756E6C65  # the advisory lock that PostgreSQL's writers take turns by; any number that is ours
_RIGHT = "a path, sqlite:///PATH or postgresql+psycopg2://USER@HOST/DATABASE is right"


class Store:
    """Transactions on one place: a path, or a URL. Nothing is created before the first write."""

    def __init__(self, place: Path | str) -> None:
        try:
            url = make_url(place) if isinstance(place, str) and "://" in place else None
        except (ArgumentError, ValueError):  # its message could hold the password
            raise StorageError(f"the ledger's URL cannot be read; {_RIGHT}") from None
        if url is not None and url.get_backend_name() not in ("sqlite", "postgresql"):
            raise StorageError(f"a ledger in {url.get_backend_name()!r} is not known; {_RIGHT}")
        self._url = url if url is not None and url.get_backend_name() == "postgresql" else None
        self._current = False  # whether the tables were seen to be of this version
        if self._url is None:
            self.path: Path | None = Path(str(url.database) if url is not None else place)
        else:
            self.path = None

    @property
    def name(self) -> str:
        """The place, without a password."""
        return str(self.path) if self._url is None else self._url.render_as_string(hide_password=True)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, alone: all of it, or nothing. The tables are made, or brought to this version, first."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._begun(writes=True) as db:
            if self._version(db) is None:
                METADATA.create_all(db)
                db.execute(insert(LEDGER), {"version": VERSION})
            yield db

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """One consistent look; None where no ledger was written yet."""
        if self.path is not None and not self.path.exists():
            yield None
            return
        with self._begun(writes=False) as db:
            version = self._version(db)
            if version in (None, VERSION):
                yield db if version else None
                return
        with self.writing() as db:  # an older ledger is brought to this version first
            yield db

    @contextmanager
    def _begun(self, writes: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect() as db, db.execution_options(writes=writes).begin():
                yield db
        except DBAPIError as error:
            raise self._refused(error) from None

    def _version(self, db: Connection) -> int | None:
        """Of the ledger that is there; None of none. An older one is migrated where `db` writes."""
        if self._current:
            return VERSION
        tables = inspect(db).get_table_names()
        if LEDGER.name in tables:
            version = int(db.execute(select(LEDGER.c.version)).scalar_one())
            if version > VERSION:
                raise StorageError(
                    f"{self.name}: the ledger was written by a newer release (its version {version}, this one knows "
                    f"{VERSION}); run that release, nothing was changed"
                )
            self._current = version == VERSION
            return version
        if "requests" not in tables:
            return None
        if db.get_execution_options()["writes"]:
            migration.from_first(db)
            return VERSION
        return 1

    def _refused(self, error: DBAPIError) -> StorageError:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return files.refused(OSError(errno.ENOSPC, "disk full"), Path(self.name))
        # Only the driver's first line: the statement, its values and the details may be personal data.
        said = str(error.orig).partition("\n")[0].strip()
        password = None if self._url is None else self._url.password
        said = said.replace(str(password), "***") if password else said
        return StorageError(f"{self.name}: the ledger cannot be used ({said}); nothing was changed")

    @cached_property
    def _engine(self) -> Engine:
        if self._url is None:
            engine = create_engine("sqlite://", creator=self._opened, poolclass=NullPool)
        else:
            try:
                engine = create_engine(self._url, poolclass=NullPool)
            except (ImportError, NoSuchModuleError):
                raise StorageError(
                    f"{self.name}: this environment has no driver for it; psycopg2 is (pip install psycopg2-binary)"
                ) from None
        event.listen(engine, "begin", _begin)
        return engine

    def _opened(self) -> Any:
        db = sqlite3.connect(str(self.path), timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            db.close()
            raise
        return db


def _begin(db: Connection) -> None:
    """SQLite's writer takes its lock at once; PostgreSQL's take turns by an advisory lock: none has to try again."""
    writes = db.get_execution_options()["writes"]
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes:
        db.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE_S}s'")
        db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITERS})
    else:
        db.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
