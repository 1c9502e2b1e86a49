"""A ledger of an earlier release is brought to today's tables, whole or not at all; a newer one is refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.requests.test_ledger import filed
from tests.toy_batch import request_id
from unlearning.errors import StorageError
from unlearning.requests import migration
from unlearning.requests.ledger import Ledger

FIRST_RELEASE = """
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    controller_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    body TEXT NOT NULL,
    goal TEXT NOT NULL,
    dataset TEXT,
    received_at TEXT NOT NULL,
    state TEXT NOT NULL,
    batch TEXT,
    UNIQUE (controller_id, request_id)
);
CREATE INDEX by_batch ON requests (batch, state);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_seq INTEGER NOT NULL REFERENCES requests (seq),
    at TEXT NOT NULL,
    old TEXT,
    new TEXT NOT NULL,
    batch TEXT,
    reason TEXT NOT NULL
);
CREATE TRIGGER events_stay BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_last BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
"""
WALKS = {  # request: its states, those from `resolving` on in batch b1
    1: ("received", "verified", "resolving", "scheduled", "unlearning", "evaluating", "ready", "promoted"),
    2: ("received", "verified", "resolving", "cancelled"),
    3: ("received", "verified", "resolving", "not_found"),
    4: ("received", "verified"),
    5: ("received", "verified", "cancelled"),
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger as the first release wrote it, with one batch."""
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(FIRST_RELEASE)
        for number, walk in WALKS.items():
            one = filed(number)
            batch = "b1" if "resolving" in walk else None
            names = ("shop-1", request_id(number), one.digest, one.body.decode(), one.request.goal, "toys")
            row = (number, *names, "2026-01-31T10:00:00.000+00:00", walk[-1], batch)
            db.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            for place, (before, after) in enumerate(zip((None, *walk), walk, strict=False)):
                told = (number, f"2026-02-0{place + 1}T00:00:00.000+00:00", before, after)
                inside = batch if place > 1 else None
                reason = "sealed" if after == "resolving" else "as_it_was"
                db.execute(
                    "INSERT INTO events (request_seq, at, old, new, batch, reason) VALUES (?, ?, ?, ?, ?, ?)",
                    (*told, inside, reason),
                )
    return path


def test_an_old_ledger_goes_on_where_it_was(old: Path) -> None:
    ledger = Ledger(old)
    assert [(entry.state, entry.batch) for entry in ledger.entries()] == [
        ("promoted", "b1"),
        ("cancelled", "b1"),
        ("not_found", "b1"),
        ("verified", None),
        ("cancelled", None),
    ]
    for entry in ledger.entries():
        number = int(entry.request_id[:8], 16)
        told = [event.new for event in ledger.events(entry) if event.reason != "migrated"]
        assert told == list(WALKS[number])
        assert entry.due_at == "2026-02-28T10:00:00.000+00:00"
    with ledger.sealing("b1", "m", "toys") as sealed:
        assert (sealed.sealed_at, len(sealed.entries)) == ("2026-02-03T00:00:00.000+00:00", 3)
    assert [entry.request_id for entry in ledger.pending("m", "toys")] == [request_id(4)]  # the others were served
    assert [entry.request_id for entry in ledger.seal("b2", "m", "toys")] == [request_id(4)]
    assert ledger.roll_back("b1", "harm") == 1
    assert [entry.request_id for entry in ledger.pending("m", "toys")] == [request_id(1)]
    assert ledger.add([filed(5)])[0].seq == 5


def test_a_migration_that_breaks_off_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migration, "_called_off", lambda row: {"request_seq": 999})
        with pytest.raises(StorageError, match="nothing was changed"):
            Ledger(old).add([filed(6)])
    with closing(sqlite3.connect(old)) as db:
        assert [row[0] for row in db.execute("SELECT state FROM requests ORDER BY seq")] == [
            walk[-1] for walk in WALKS.values()
        ]
    assert len(Ledger(old).entries()) == len(WALKS)


@pytest.mark.parametrize("use", ["add", "entries"])
def test_a_ledger_of_a_newer_release_is_refused(tmp_path: Path, use: str) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).add([filed()])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE ledger SET version = 3")
    with pytest.raises(StorageError, match=r"written by a newer release \(its version 3, this one knows 2\)"):
        getattr(Ledger(path), use)(*([[filed(2)]] if use == "add" else []))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("postgresql+psycopg2://me:secret-word@localhost:1/none", r"postgresql\+psycopg2://me:\*\*\*@localhost:1/none"),
        ("mysql://me:secret-word@host/none", "a ledger in 'mysql' is not known"),
        ("postgresql+nothing://me:secret-word@host/none", "no driver for it"),
        ("postgresql://me:secret-word@host:port/none", "URL cannot be read"),
    ],
)
def test_a_password_is_never_said(place: str, said: str) -> None:
    with pytest.raises(StorageError, match=said) as refused:
        Ledger.at(place).entries()
    assert "secret-word" not in str(refused.value)
