"""The ledger: every request exactly once, its state, and an event for each change, in one SQLite file.

A state and its event are written in one transaction; events can be added, never changed or removed. The ledger holds
opaque ids and the selectors of the request itself, nothing else about a person.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearning.errors import RequestError, StorageError
from unlearning.requests import states
from unlearning.requests.schema import Filed, Request, parse

_TABLES = """
CREATE TABLE IF NOT EXISTS requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    controller_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    digest TEXT NOT NULL,          -- sha256 of the body
    body TEXT NOT NULL,            -- canonical JSON
    goal TEXT NOT NULL,
    dataset TEXT,
    received_at TEXT NOT NULL,
    state TEXT NOT NULL,
    batch TEXT,
    UNIQUE (controller_id, request_id)
);
CREATE INDEX IF NOT EXISTS by_batch ON requests (batch, state);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_seq INTEGER NOT NULL REFERENCES requests (seq),
    at TEXT NOT NULL,
    old TEXT,
    new TEXT NOT NULL,
    batch TEXT,
    reason TEXT NOT NULL           -- a code, never a sentence about somebody
);
CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER IF NOT EXISTS events_last BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
"""
_COLUMNS = "seq, controller_id, request_id, digest, body, goal, dataset, received_at, state, batch"


@dataclass(frozen=True, slots=True)
class Entry:
    """One request as the ledger holds it."""

    seq: int
    controller_id: str
    request_id: str
    digest: str
    body: str
    goal: str
    dataset: str | None
    received_at: str
    state: str
    batch: str | None

    @property
    def request(self) -> Request:
        """The request itself, validated again."""
        return parse(self.body, f"ledger entry {self.seq}").request

    @property
    def receipt(self) -> dict[str, Any]:
        """What its controller is told: the same answer each time the same request comes."""
        return {
            "controller_id": self.controller_id,
            "request_id": self.request_id,
            "digest": self.digest,
            "received_at": self.received_at,
            "state": self.state,
            "batch": self.batch,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one request."""

    seq: int
    at: str
    old: str | None
    new: str
    batch: str | None
    reason: str


class Ledger:
    """The ledger in one file. Nothing is created before the first request is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, filed: Sequence[Filed]) -> list[Entry]:
        """Take requests in, all or none. A request that is there already gets its entry again: exactly once.

        Raises RequestError if an id comes back with another body.
        """
        with self._writing() as db:
            return [self._add(db, one) for one in filed]

    def entries(self, batch: str | None = None) -> list[Entry]:
        """Every request, or those of one batch, in the order they came."""
        where, values = ("WHERE batch = ?", (batch,)) if batch is not None else ("", ())
        with self._reading() as db:
            return _entries(db, where, values) if db is not None else []

    def find(self, request_id: str) -> list[Entry]:
        """The requests of that id, one a controller."""
        with self._reading() as db:
            return _entries(db, "WHERE request_id = ?", (request_id,)) if db is not None else []

    def events(self, entry: Entry) -> list[Event]:
        """What happened to one request, oldest first."""
        with self._reading() as db:
            if db is None:
                return []
            columns = "seq, at, old, new, batch, reason"
            rows = db.execute(f"SELECT {columns} FROM events WHERE request_seq = ? ORDER BY seq", (entry.seq,))
            return [Event(*row) for row in rows]

    def pending(self, dataset: str | None = None) -> list[Entry]:
        """Requests that wait for a batch, of the oldest one's goal; those that name another data set wait on."""
        with self._reading() as db:
            return _pending(db, dataset) if db is not None else []

    def waiting(self) -> list[Entry]:
        """Every request that waits for a batch, whatever its goal and data set."""
        return [entry for entry in self.entries() if entry.state == states.PENDING and entry.batch is None]

    def seal(self, batch: str, dataset: str | None = None) -> list[Entry]:
        """All pending requests of the oldest one's goal join `batch`, once: a sealed batch stays as it is.

        Raises RequestError if nothing is pending and the batch was not sealed before.
        """
        with self.sealing(batch, dataset) as (entries, _):
            return entries

    @contextmanager
    def sealing(self, batch: str, dataset: str | None = None) -> Iterator[tuple[list[Entry], str]]:
        """`seal`, kept only if the block ends well: it writes the requests, and when they were sealed, to a file."""
        with self._writing() as db:
            sealed = _entries(db, "WHERE batch = ?", (batch,))
            if sealed:
                yield sealed, _sealed_at(db, sealed[0])
                return
            joining = _pending(db, dataset)
            if not joining:
                raise RequestError(nothing_pending(batch, dataset))
            db.executemany("UPDATE requests SET batch = ? WHERE seq = ?", [(batch, entry.seq) for entry in joining])
            for entry in _entries(db, "WHERE batch = ?", (batch,)):
                _move(db, entry, "resolving", "sealed")
            sealed = _entries(db, "WHERE batch = ?", (batch,))
            yield sealed, _sealed_at(db, sealed[0])

    def move(self, entry: Entry, new: str, reason: str) -> None:
        """Change the state of one request. Raises RequestError if that is not legal from the state it is in now."""
        with self._writing() as db:
            _move(db, _entries(db, "WHERE seq = ?", (entry.seq,))[0], new, reason)

    def advance(self, batch: str, new: str, reason: str) -> int:
        """Walk the live requests of a batch along the main line to `new`; how many moved. Again: nothing moves.

        `failed` is reached from wherever they stand. Requests that ended, or were left out, stay as they are.
        """
        moved = 0
        with self._writing() as db:
            for entry in _entries(db, "WHERE batch = ?", (batch,)):
                for state in _path(entry.state, new):
                    _move(db, _entries(db, "WHERE seq = ?", (entry.seq,))[0], state, reason)
                moved += bool(_path(entry.state, new))
        return moved

    def close_batch(self, batch: str, promoted: bool, reason: str) -> int:
        """End a batch's requests: `promoted`, or `failed` with a reason code, from which it may be tried again."""
        return self.advance(batch, "promoted" if promoted else "failed", reason)

    def _add(self, db: sqlite3.Connection, filed: Filed) -> Entry:
        request = filed.request
        names = (request.controller_id, request.request_id)
        known = _entries(db, "WHERE controller_id = ? AND request_id = ?", names)
        if known and known[0].digest != filed.digest:
            raise RequestError(
                f"request {request.request_id} of {request.controller_id} is in the ledger with another body "
                f"(sha256 {known[0].digest[:12]}, not {filed.digest[:12]}); a new request needs a new request_id"
            )
        if known:
            return known[0]
        db.execute(
            "INSERT INTO requests (controller_id, request_id, digest, body, goal, dataset, received_at, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'received')",
            (*names, filed.digest, filed.body.decode(), request.goal, request.dataset, _now()),
        )
        entry = _entries(db, "WHERE controller_id = ? AND request_id = ?", names)[0]
        _event(db, entry.seq, None, "received", None, "intake")
        _move(db, entry, "verified", "attested_by_controller")  # who asks was checked by whoever filed the request
        return _entries(db, "WHERE seq = ?", (entry.seq,))[0]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or nothing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.executescript(_TABLES)
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                if db.in_transaction:  # a full disk has rolled back already
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        if not self.path.exists():
            yield None
            return
        with self._connected() as db:
            yield db

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=30.0, isolation_level=None)) as db:
                yield db
        except sqlite3.DatabaseError as error:
            raise StorageError(f"{self.path}: the ledger cannot be used ({error}); nothing was changed") from None


def nothing_pending(batch: str, dataset: str | None) -> str:
    """The sentence for a batch that has nothing to do."""
    about = f" about data set {dataset!r}" if dataset else ""
    return f"batch {batch}: no deletion request{about} is pending; file one with `unlearning request add FILE`"


def _entries(db: sqlite3.Connection, where: str, values: Sequence[Any]) -> list[Entry]:
    rows = db.execute(f"SELECT {_COLUMNS} FROM requests {where} ORDER BY seq", values)
    return [Entry(*row) for row in rows]


def _sealed_at(db: sqlite3.Connection, entry: Entry) -> str:
    """When the batch of `entry` was sealed, RFC 3339: however often its files are made again."""
    order = "WHERE request_seq = ? AND reason = 'sealed' ORDER BY seq DESC LIMIT 1"
    return str(db.execute(f"SELECT at FROM events {order}", (entry.seq,)).fetchone()[0])


def _pending(db: sqlite3.Connection, dataset: str | None) -> list[Entry]:
    where, values = "WHERE state = ? AND batch IS NULL", [states.PENDING]
    if dataset is not None:
        where, values = f"{where} AND (dataset IS NULL OR dataset = ?)", [*values, dataset]
    waiting = _entries(db, where, values)
    return [entry for entry in waiting if entry.goal == waiting[0].goal]


def _path(old: str, new: str) -> tuple[str, ...]:
    if new == "failed":
        return ("failed",) if "failed" in states.LEGAL[old] else ()
    return states.steps(old, new)


def _move(db: sqlite3.Connection, entry: Entry, new: str, reason: str) -> None:
    states.require(entry.state, new, entry.request_id)
    db.execute("UPDATE requests SET state = ? WHERE seq = ?", (new, entry.seq))
    _event(db, entry.seq, entry.state, new, entry.batch, reason)


def _event(db: sqlite3.Connection, seq: int, old: str | None, new: str, batch: str | None, reason: str) -> None:
    db.execute(
        "INSERT INTO events (request_seq, at, old, new, batch, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (seq, _now(), old, new, batch, reason),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
