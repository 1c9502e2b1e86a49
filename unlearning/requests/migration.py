"""Ledgers that an earlier release wrote, brought to today's tables in one transaction. Only SQLite had any."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, insert, text

from unlearning.requests import deadlines, states
from unlearning.requests.tables import BATCHES, EVENTS, LEDGER, METADATA, REQUESTS, TASKS, VERSION

EVERY_MODEL = "*"  # of a batch sealed before models were told apart: what it settled, it settled for each of them


def from_first(db: Connection) -> None:
    """Version 1 had one table of requests and one of events; a request was in one batch, or in none."""
    for name in ("requests", "events"):
        db.execute(text(f"ALTER TABLE {name} RENAME TO old_{name}"))
    db.execute(text("DROP INDEX IF EXISTS by_batch"))
    METADATA.create_all(db)
    db.execute(insert(LEDGER), {"version": VERSION})
    rows = [dict(row) for row in db.execute(text("SELECT * FROM old_requests ORDER BY seq")).mappings()]
    joined = [row for row in rows if row["batch"] is not None]
    _insert(db, REQUESTS, [_request(row) for row in rows])
    _insert(db, BATCHES, _batches(db, joined))
    # One request, one task: they may share a number.
    tasks = [
        {"seq": row["seq"], "request_seq": row["seq"], "batch": row["batch"], "state": row["state"]} for row in joined
    ]
    _insert(db, TASKS, [{**task, "model": EVERY_MODEL, "attempt": 1} for task in tasks])
    columns = ["seq", "request_seq", "task_seq", "kind", "at", "old", "new", "batch", "reason"]
    old = text(
        "SELECT seq, request_seq, CASE WHEN batch IS NULL THEN NULL ELSE request_seq END, 'state', at, old, new, "
        "batch, reason FROM old_events ORDER BY seq"
    ).columns(*(EVENTS.c[name] for name in columns))
    db.execute(insert(EVENTS).from_select(columns, old))
    _insert(db, EVENTS, [_called_off(row) for row in joined if row["state"] in states.CALLED_OFF])
    db.execute(text("DROP TABLE old_events"))
    db.execute(text("DROP TABLE old_requests"))


def _request(row: dict[str, Any]) -> dict[str, Any]:
    received = datetime.fromisoformat(str(row["received_at"]))
    found = deadlines.of(json.loads(str(row["body"]))["regulation"], received, deadlines.RULES)
    state = str(row["state"])
    return {
        **{name: value for name, value in row.items() if name != "batch"},
        "state": state if row["batch"] is None or state in states.CALLED_OFF else states.PENDING,
        "source": "cli",
        "due_at": deadlines.stamp(found.due_at),
        "due_rule": found.rule,
        "due_inputs": json.dumps(found.inputs, sort_keys=True),
        "alarm": 0.0,
        "alarm_at": deadlines.stamp(deadlines.alarm_at(received, found.due_at, deadlines.ALARMS[0])),
    }


def _batches(db: Connection, joined: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sealed = text("SELECT batch, max(at) AS at FROM old_events WHERE reason = 'sealed' GROUP BY batch")
    sealed_at = {row.batch: row.at for row in db.execute(sealed)}
    goals = {row["batch"]: row["goal"] for row in joined}
    return [
        {"key": key, "model": EVERY_MODEL, "dataset": None, "goal": goal, "sealed_at": sealed_at[key], "cut_off": None}
        for key, goal in sorted(goals.items())
    ]


def _called_off(row: dict[str, Any]) -> dict[str, Any]:
    """What is called off in a batch is so for the request, too; version 1 had one state for both."""
    said = {"old": states.PENDING, "new": row["state"], "reason": "migrated"}
    return {"request_seq": row["seq"], "kind": "state", "at": deadlines.stamp(datetime.now(UTC)), **said}


def _insert(db: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        db.execute(insert(table), rows)
