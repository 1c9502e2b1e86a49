"""What is read from the ledger's tables: entries, what waits for a model, what is still owed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, null, or_, select

from unlearning.errors import RequestError
from unlearning.requests import states
from unlearning.requests.entry import Entry, Sealed
from unlearning.requests.migration import EVERY_MODEL
from unlearning.requests.tables import APPROVALS, BATCHES, EVENTS, LINES, REQUESTS, TASKS

_OF_REQUEST = tuple(
    REQUESTS.c[name]
    for name in (
        "seq",
        "controller_id",
        "request_id",
        "digest",
        "body",
        "goal",
        "dataset",
        "received_at",
        "due_at",
        "due_rule",
    )
)
_OF_TASK = (TASKS.c.state, TASKS.c.batch, TASKS.c.model, TASKS.c.attempt, TASKS.c.seq)
_ALONE = (REQUESTS.c.state, null(), null(), null(), null())
_FIELDS = tuple(field.name for field in fields(Entry))
CHUNK = 500  # values in one statement; SQLite allows 999


def live() -> ColumnElement[bool]:
    """Whether a task was neither requeued nor rolled back."""
    return TASKS.c.state.not_in(sorted(states.UNDONE))


def of_batch(db: Connection, batch: str) -> list[Entry]:
    """Every task of a batch, however it ended, in the order their requests came."""
    joined = select(*_OF_REQUEST, *_OF_TASK).join(TASKS, TASKS.c.request_seq == REQUESTS.c.seq)
    return _entries(db, joined.where(TASKS.c.batch == batch).order_by(REQUESTS.c.seq))


def of_task(db: Connection, seq: int) -> Entry:
    """One task, as it is now."""
    joined = select(*_OF_REQUEST, *_OF_TASK).join(TASKS, TASKS.c.request_seq == REQUESTS.c.seq)
    return _entries(db, joined.where(TASKS.c.seq == seq))[0]


def tasks(db: Connection, request_seq: int, only_live: bool = False) -> list[Entry]:
    """The tasks of one request, in the order they were made."""
    joined = select(*_OF_REQUEST, *_OF_TASK).join(TASKS, TASKS.c.request_seq == REQUESTS.c.seq)
    joined = joined.where(REQUESTS.c.seq == request_seq).order_by(TASKS.c.seq)
    return _entries(db, joined.where(live()) if only_live else joined)


def current(
    db: Connection, *where: ColumnElement[bool], state: str | None = None, most: int | None = None, newest: bool = False
) -> list[Entry]:
    """Requests with their live tasks, a row each; a request without one alone. In the order they came."""
    joined = select(*_OF_REQUEST, *_OF_TASK, REQUESTS.c.state).outerjoin(
        TASKS, and_(TASKS.c.request_seq == REQUESTS.c.seq, live())
    )
    if state is not None:
        joined = joined.where(or_(TASKS.c.state == state, and_(TASKS.c.seq.is_(None), REQUESTS.c.state == state)))
    order = [REQUESTS.c.seq.desc(), TASKS.c.seq.desc()] if newest else [REQUESTS.c.seq, TASKS.c.seq]
    return [_entry(row[:-1], row[-1]) for row in db.execute(joined.where(*where).order_by(*order).limit(most))]


def alone(db: Connection, *where: ColumnElement[bool], most: int | None = None) -> list[Entry]:
    """Requests, whatever their tasks, in the order they came."""
    return _entries(db, select(*_OF_REQUEST, *_ALONE).where(*where).order_by(REQUESTS.c.seq).limit(most))


def last(db: Connection) -> int:
    """The number of the newest request; 0 where there is none."""
    return int(db.execute(select(func.coalesce(func.max(REQUESTS.c.seq), 0))).scalar_one())


def counts(db: Connection) -> dict[str, int]:
    """Requests with their live tasks, a count a state."""
    joined = REQUESTS.outerjoin(TASKS, and_(TASKS.c.request_seq == REQUESTS.c.seq, live()))
    state = func.coalesce(TASKS.c.state, REQUESTS.c.state)
    rows = db.execute(select(state, func.count()).select_from(joined).group_by(state).order_by(state))
    return {name: count for name, count in rows}


def by_number(db: Connection, seqs: Sequence[int]) -> list[Entry]:
    """Requests alone, in the order of `seqs`."""
    found: dict[int, Entry] = {}
    for start in range(0, len(seqs), CHUNK):
        found.update((entry.seq, entry) for entry in alone(db, REQUESTS.c.seq.in_(seqs[start : start + CHUNK])))
    return [found[seq] for seq in seqs]


def live_tasks(db: Connection, seqs: Sequence[int], model: str) -> dict[int, Entry]:
    """The live task of `model` for each request that has one, by the request's number."""
    found: dict[int, Entry] = {}
    for start in range(0, len(seqs), CHUNK):
        mine = (REQUESTS.c.seq.in_(seqs[start : start + CHUNK]), _counts_for(model))
        found.update((entry.seq, entry) for entry in current(db, *mine))
    return found


def known(db: Connection, ids: Sequence[str]) -> dict[tuple[str, str], Entry]:
    """The requests of these ids as they stand, by (controller_id, request_id)."""
    found: dict[tuple[str, str], Entry] = {}
    for start in range(0, len(ids), CHUNK):
        for entry in current(db, REQUESTS.c.request_id.in_(ids[start : start + CHUNK])):
            found.setdefault((entry.controller_id, entry.request_id), entry)
    return found


def refusals(db: Connection, batch: str) -> int:
    """How many earlier batches failed one request of the batch and left it to the next, at most; holds do not count."""
    ours = select(TASKS.c.request_seq, func.min(TASKS.c.seq).label("first")).where(TASKS.c.batch == batch)
    mine, before = ours.group_by(TASKS.c.request_seq).subquery(), TASKS.alias("before")
    left = and_(EVENTS.c.task_seq == before.c.seq, EVENTS.c.old == "failed", EVENTS.c.new == "requeued")
    model = select(TASKS.c.model).where(TASKS.c.batch == batch).limit(1).scalar_subquery()
    joined = before.join(mine, mine.c.request_seq == before.c.request_seq).join(EVENTS, left)
    # Only what came before it: a batch that is sealed says the same for ever.
    earlier = and_(before.c.seq < mine.c.first, before.c.model == model)
    count = select(func.count().label("n")).select_from(joined).where(earlier).group_by(before.c.request_seq).subquery()
    return int(db.execute(select(func.coalesce(func.max(count.c.n), 0))).scalar_one())


def pending(
    db: Connection, model: str, dataset: str | None, before: str | None = None, most: int | None = None
) -> list[Entry]:
    """Verified requests about `dataset` that no live task of `model` stands for, of the oldest one's goal.

    most  how many; then controllers take turns, each with its oldest, so that no flood of one keeps another waiting
    """
    where = [REQUESTS.c.state == states.PENDING, ~_has_task(model, live())]
    if dataset is not None:
        where.append(_about(dataset))
    if before is not None:
        where.append(REQUESTS.c.received_at < before)
    oldest = alone(db, *where, most=1)
    if not oldest:
        return []
    where.append(REQUESTS.c.goal == oldest[0].goal)
    return alone(db, *where) if most is None else alone(db, REQUESTS.c.seq.in_(_by_turns(most, *where)))


def _by_turns(most: int, *where: ColumnElement[bool]) -> Select[tuple[int]]:
    """The first requests of each controller, then the second ones, and so on; the oldest of all is among them."""
    turn = func.row_number().over(partition_by=REQUESTS.c.controller_id, order_by=REQUESTS.c.seq).label("turn")
    ranked = select(REQUESTS.c.seq, turn).where(*where).subquery()
    return select(ranked.c.seq).order_by(ranked.c.turn, ranked.c.seq).limit(most)


def held(db: Connection, dataset: str) -> list[Entry]:
    """Requests about `dataset` under legal hold, also those that some model had forgotten before."""
    return alone(db, REQUESTS.c.state == "on_hold", _about(dataset))


def waiting() -> ColumnElement[bool]:
    """Whether a request is verified, and a registered model has no live task of it; or none is registered."""
    here = exists().where(TASKS.c.request_seq == REQUESTS.c.seq, live(), _counts_for(LINES.c.model))
    lacking = exists().where(_registered(), ~here.correlate(REQUESTS, LINES))
    nobody = and_(~exists().where(_registered()), ~exists().where(TASKS.c.request_seq == REQUESTS.c.seq, live()))
    return and_(REQUESTS.c.state == states.PENDING, or_(lacking, nobody))


def unsettled(db: Connection, controller_id: str, request_id: str) -> tuple[Entry, list[Entry]]:
    """A request and its live tasks. Raises RequestError once it was called off, or every model has settled it."""
    entry = request(db, controller_id, request_id)
    if entry.state not in states.OPEN_REQUEST:
        raise RequestError(f"request {request_id}: it was {entry.state}; it has ended")
    live = tasks(db, entry.seq, only_live=True)
    if not alone(db, REQUESTS.c.seq == entry.seq, owed()):
        ends = ", ".join(sorted({task.state for task in live}))
        raise RequestError(f"request {request_id}: every model has settled it ({ends}); it has ended")
    return entry, live


def owed(model: str | None = None) -> ColumnElement[bool]:
    """Whether a request is open: not called off, and a registered model has not settled it; or none is registered."""
    settled = TASKS.c.state.in_(sorted(states.SETTLED))
    done = exists().where(TASKS.c.request_seq == REQUESTS.c.seq, settled, _counts_for(LINES.c.model))
    line = _registered() if model is None else and_(_registered(), LINES.c.model == model)
    lacking = exists().where(line, ~done.correlate(REQUESTS, LINES))
    if model is not None:
        return and_(REQUESTS.c.state.in_(sorted(states.OPEN_REQUEST)), lacking)
    never = and_(~exists().where(_registered()), ~exists().where(TASKS.c.request_seq == REQUESTS.c.seq, settled))
    return and_(REQUESTS.c.state.in_(sorted(states.OPEN_REQUEST)), or_(lacking, never))


def owed_by(db: Connection, entries: Iterable[Entry]) -> dict[int, tuple[str, ...]]:
    """The models that have yet to settle each request, by its number."""
    lines = db.execute(select(LINES.c.model, LINES.c.dataset).order_by(LINES.c.model)).all()
    wanted = list(entries)
    settled: dict[int, set[str]] = {}
    for start in range(0, len(wanted), CHUNK):
        seqs = [entry.seq for entry in wanted[start : start + CHUNK]]
        done = select(TASKS.c.request_seq, TASKS.c.model).where(
            TASKS.c.request_seq.in_(seqs), TASKS.c.state.in_(sorted(states.SETTLED))
        )
        for seq, model in db.execute(done):
            settled.setdefault(seq, set()).add(model)
    return {
        entry.seq: tuple(
            sorted(
                {model for model, dataset in lines if entry.dataset in (None, dataset)} - settled.get(entry.seq, set())
            )
        )
        for entry in wanted
    }


def models_of(db: Connection, dataset: str) -> set[str]:
    """The models that are registered on a data set: each owes every request about it."""
    return set(db.execute(select(LINES.c.model).where(LINES.c.dataset == dataset)).scalars())


def sealed(db: Connection, batch: str) -> Sealed | None:
    """A batch and its tasks; None where it was never sealed."""
    row = db.execute(select(BATCHES).where(BATCHES.c.key == batch)).one_or_none()
    if row is None:
        return None
    return Sealed(of_batch(db, batch), row.sealed_at, row.model, row.cut_off, 1 + refusals(db, batch))


def request(db: Connection, controller_id: str, request_id: str) -> Entry:
    """A request, whatever its tasks. Raises RequestError where it is not in the ledger."""
    found = alone(db, REQUESTS.c.controller_id == controller_id, REQUESTS.c.request_id == request_id)
    if not found:
        raise RequestError(f"request {request_id[:64]!r} of {controller_id[:64]!r} is not in the ledger")
    return found[0]


def approved(db: Connection, entry: Entry) -> set[tuple[str, str]]:
    """What was approved for a request: (what, digest of the proposal)."""
    rows = db.execute(select(APPROVALS.c.what, APPROVALS.c.digest).where(APPROVALS.c.request_seq == entry.seq))
    return {(what, digest) for what, digest in rows}


def _about(dataset: str) -> ColumnElement[bool]:
    return or_(REQUESTS.c.dataset.is_(None), REQUESTS.c.dataset == dataset)


def _registered() -> ColumnElement[bool]:
    return or_(REQUESTS.c.dataset.is_(None), LINES.c.dataset == REQUESTS.c.dataset)


def _counts_for(model: Any) -> ColumnElement[bool]:
    return or_(TASKS.c.model == model, TASKS.c.model == EVERY_MODEL)


def _has_task(model: str, *where: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(TASKS.c.request_seq == REQUESTS.c.seq, _counts_for(model), *where)


def _entries(db: Connection, statement: Select[Any]) -> list[Entry]:
    return [_entry(row, None) for row in db.execute(statement)]


def _entry(row: Sequence[Any], state: str | None) -> Entry:
    values = dict(zip(_FIELDS, row, strict=True))
    state = values["state"] or state  # no task: the request stands alone
    return Entry(**values | {"state": state, "attempt": values["attempt"] or 0})
