"""Deadlines that come near: what is due, what rings, and the one extension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select, update

from unlearning.errors import RequestError
from unlearning.requests import deadlines, queries, writes
from unlearning.requests.deadlines import ALARMS, Rule
from unlearning.requests.entry import Due, Entry
from unlearning.requests.tables import REQUESTS


def due(db: Connection, now: datetime, model: str | None = None, most: int | None = None) -> list[Due]:
    """Open requests, soonest first. Of a model: with the task that stands for the request there, if one does."""
    soonest = select(REQUESTS.c.seq).where(queries.owed(model)).order_by(REQUESTS.c.due_at, REQUESTS.c.seq).limit(most)
    seqs = list(db.execute(soonest).scalars())
    found = _told(db, seqs, now)
    if model is None:
        return found
    tasks = queries.live_tasks(db, seqs, model)
    return [replace(one, entry=tasks.get(one.entry.seq, one.entry)) for one in found]


def ringing(db: Connection, now: datetime) -> list[int]:
    """The numbers of open requests whose next alarm has come, soonest due first."""
    came: list[ColumnElement[bool]] = [REQUESTS.c.alarm_at <= deadlines.stamp(now), queries.owed()]
    return list(db.execute(select(REQUESTS.c.seq).where(*came).order_by(REQUESTS.c.due_at, REQUESTS.c.seq)).scalars())


def ring(db: Connection, now: datetime) -> list[Due]:
    """Note every alarm that has come, once, and tell of each request with the highest."""
    told = _told(db, ringing(db, now), now)
    open_alarms = select(REQUESTS.c.seq, REQUESTS.c.alarm).where(REQUESTS.c.alarm_at.is_not(None))
    rung: dict[int, float] = {seq: alarm for seq, alarm in db.execute(open_alarms)}
    for one in told:
        for share in ALARMS:
            if rung[one.entry.seq] < share <= one.alarm:
                writes.note(db, one.entry, "alarm", f"alarm_{share:.0%}".rstrip("%"), now)
        received, last = (datetime.fromisoformat(at) for at in (one.entry.received_at, one.due_at))
        later = [deadlines.alarm_at(received, last, share) for share in ALARMS if share > one.alarm]
        row = {"alarm": one.alarm, "alarm_at": deadlines.stamp(later[0]) if later else None}
        db.execute(update(REQUESTS).where(REQUESTS.c.seq == one.entry.seq).values(row))
    return told


def extend(db: Connection, entry: Entry, rules: Mapping[str, Rule], reason: str, now: datetime) -> None:
    """The rule's one extension. Raises RequestError: extended before, due already, or the rule knows none."""
    extended = db.execute(select(REQUESTS.c.extended).where(REQUESTS.c.seq == entry.seq)).scalar_one()
    if extended is not None:
        raise RequestError(f"request {entry.request_id}: was extended before ({extended}); a rule has one extension")
    if deadlines.stamp(now) >= entry.due_at:
        raise RequestError(
            f"request {entry.request_id}: was due at {entry.due_at}; an extension must be told before that"
        )
    received = datetime.fromisoformat(entry.received_at)
    longer = deadlines.of(entry.request.regulation, received, rules, extended=True)
    if deadlines.stamp(longer.due_at) <= entry.due_at:
        raise RequestError(
            f"request {entry.request_id}: its rule, {longer.rule}, knows no extension beyond {entry.due_at}"
        )
    writes.extend(db, entry, longer, reason, now)


def _told(db: Connection, seqs: Sequence[int], now: datetime) -> list[Due]:
    entries = queries.by_number(db, seqs)
    owed = queries.owed_by(db, entries)
    return [_due(entry, owed[entry.seq], now) for entry in entries]


def _due(entry: Entry, owed_by: tuple[str, ...], now: datetime) -> Due:
    received, last = (datetime.fromisoformat(at) for at in (entry.received_at, entry.due_at))
    reached = [
        share for share in ALARMS if deadlines.stamp(deadlines.alarm_at(received, last, share)) <= deadlines.stamp(now)
    ]
    used = (now - received) / (last - received)
    return Due(entry, entry.due_at, used, max(reached, default=0.0), owed_by)
