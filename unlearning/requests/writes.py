"""What is written to the ledger's tables: every change with its event, in the transaction of the caller."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, literal, select, update

from unlearning.errors import ConflictError, RequestError
from unlearning.requests import deadlines, queries, states
from unlearning.requests.deadlines import Deadline, Rule
from unlearning.requests.entry import Entry
from unlearning.requests.schema import Filed
from unlearning.requests.tables import EVENTS, REQUESTS, TASKS

_CODE = re.compile(r"[a-z0-9][a-z0-9_.:-]{0,63}")


def code(reason: str) -> str:
    """`reason`, if it is a code. Raises RequestError, without the value: it may be personal data."""
    if not _CODE.fullmatch(reason):
        raise RequestError(
            "the reason is not a code: 1 to 64 of a-z, 0-9, underscore, dot, colon, hyphen are right (no sentence: it "
            "would stay in the ledger for ever)"
        )
    return reason


def take_in(
    db: Connection, filed: Sequence[Filed], now: datetime, source: str, rules: Mapping[str, Rule]
) -> list[Entry]:
    """The entries of `filed`, in its order; what is there already is not taken in again. Raises ConflictError."""
    names = [(one.request.controller_id, one.request.request_id) for one in filed]
    before = queries.known(db, [name for _, name in names])
    digests = {name: entry.digest for name, entry in before.items()}
    new: list[Filed] = []
    for name, one in zip(names, filed, strict=True):
        if name not in digests:
            digests[name] = one.digest
            new.append(one)
        elif digests[name] != one.digest:
            raise ConflictError(
                f"request {name[1]} of {name[0]} is in the ledger with another body "
                f"(sha256 {digests[name][:12]}, not {one.digest[:12]}); a new request needs a new request_id"
            )
    entries = before | (_insert(db, new, now, source, rules) if new else {})
    return [entries[name] for name in names]


def _insert(
    db: Connection, new: Sequence[Filed], now: datetime, source: str, rules: Mapping[str, Rule]
) -> dict[tuple[str, str], Entry]:
    due = {name: deadlines.of(name, now, rules) for name in {one.request.regulation for one in new}}
    last = db.execute(select(func.coalesce(func.max(REQUESTS.c.seq), 0))).scalar_one()
    clock = {name: _clock(now, one) for name, one in due.items()}
    rows = [
        {
            "controller_id": one.request.controller_id,
            "request_id": one.request.request_id,
            "digest": one.digest,
            "body": one.body.decode(),
            "goal": one.request.goal,
            "dataset": one.request.dataset,
            "source": source,
            "received_at": deadlines.stamp(now),
            "state": states.PENDING,
            **clock[one.request.regulation],
        }
        for one in new
    ]
    db.execute(insert(REQUESTS), rows)
    # Nobody else writes meanwhile: what has a higher number than before is ours. Who asks was checked by whoever filed
    # the request, so it is verified at once.
    for old, state, reason in ((None, "received", "intake"), ("received", "verified", "attested_by_controller")):
        values = (REQUESTS.c.seq, literal("state"), literal(deadlines.stamp(now)), literal(old, EVENTS.c.old.type))
        ours = select(*values, literal(state), literal(reason)).where(REQUESTS.c.seq > last).order_by(REQUESTS.c.seq)
        db.execute(insert(EVENTS).from_select(["request_seq", "kind", "at", "old", "new", "reason"], ours))
    made = queries.alone(db, REQUESTS.c.seq > last)
    return {(entry.controller_id, entry.request_id): entry for entry in made}


def _clock(received: datetime, due: Deadline) -> dict[str, Any]:
    """The columns of a request that say when it is due, with no alarm rung."""
    return {
        "due_at": deadlines.stamp(due.due_at),
        "due_rule": due.rule,
        "due_inputs": json.dumps(due.inputs, sort_keys=True),
        "alarm": 0.0,
        "alarm_at": deadlines.stamp(deadlines.alarm_at(received, due.due_at, deadlines.ALARMS[0])),
    }


def join(db: Connection, batch: str, model: str, pending: Sequence[Entry], now: datetime) -> None:
    """A task each, sealed into `batch`."""
    last = db.execute(select(func.coalesce(func.max(TASKS.c.seq), 0))).scalar_one()
    tried: dict[int, int] = {}
    for start in range(0, len(pending), queries.CHUNK):
        seqs = [entry.seq for entry in pending[start : start + queries.CHUNK]]
        attempts = select(TASKS.c.request_seq, func.max(TASKS.c.attempt)).where(
            TASKS.c.model == model, TASKS.c.request_seq.in_(seqs)
        )
        tried.update((seq, attempt) for seq, attempt in db.execute(attempts.group_by(TASKS.c.request_seq)))
    rows = [
        {
            "request_seq": entry.seq,
            "model": model,
            "attempt": tried.get(entry.seq, 0) + 1,
            "batch": batch,
            "state": "resolving",
        }
        for entry in pending
    ]
    db.execute(insert(TASKS), rows)
    values = (literal("state"), literal(deadlines.stamp(now)), literal(states.PENDING), literal("resolving"))
    ours = select(TASKS.c.request_seq, TASKS.c.seq, *values, TASKS.c.batch, literal("sealed"))
    columns = ["request_seq", "task_seq", "kind", "at", "old", "new", "batch", "reason"]
    db.execute(insert(EVENTS).from_select(columns, ours.where(TASKS.c.seq > last).order_by(TASKS.c.seq)))


def walk(db: Connection, moves: Sequence[tuple[Entry, Sequence[str]]], reason: str, now: datetime) -> int:
    """Take each entry (a task, or a request alone) through its states; how many moved. Raises RequestError."""
    events: list[dict[str, Any]] = []
    ends: dict[tuple[bool, str], list[int]] = {}  # (of a task, the state it came to): numbers
    for entry, path in moves:
        old = entry.state
        for new in path:
            states.require(old, new, entry.request_id)
            events.append(_event(entry, old, new, reason, now))
            old = new
        if path:
            number = entry.seq if entry.task is None else entry.task
            ends.setdefault((entry.task is not None, old), []).append(number)
    for (of_a_task, state), numbers in ends.items():
        table = TASKS if of_a_task else REQUESTS
        for start in range(0, len(numbers), queries.CHUNK):
            some = table.c.seq.in_(numbers[start : start + queries.CHUNK])
            db.execute(update(table).where(some).values(state=state))
    if events:
        db.execute(insert(EVENTS), events)
    return sum(len(numbers) for numbers in ends.values())


def note(db: Connection, entry: Entry, kind: str, reason: str, now: datetime) -> None:
    """An event that changes no state."""
    db.execute(insert(EVENTS), [{**_event(entry, entry.state, entry.state, reason, now), "kind": kind}])


def extend(db: Connection, entry: Entry, due: Deadline, reason: str, now: datetime) -> None:
    """The new due date, and its alarms anew."""
    clock = _clock(datetime.fromisoformat(entry.received_at), due)
    db.execute(update(REQUESTS).where(REQUESTS.c.seq == entry.seq).values(extended=code(reason), **clock))
    note(db, entry, "extension", reason, now)


def _event(entry: Entry, old: str, new: str, reason: str, now: datetime) -> dict[str, Any]:
    return {
        "request_seq": entry.seq,
        "task_seq": entry.task,
        "kind": "state",
        "at": deadlines.stamp(now),
        "old": old,
        "new": new,
        "batch": entry.batch,
        "reason": code(reason),
    }
