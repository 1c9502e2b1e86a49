"""The ledger: every request exactly once, a task for each model that owes it, and an event for each change.

A state and its event are written in one transaction; events can be added, never changed or removed. The ledger holds
opaque ids and the selectors of the request itself, nothing else about a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from sqlalchemy import ColumnElement, Connection, insert, select

from unlearning.errors import RequestError
from unlearning.requests import alarms, deadlines, queries, states, writes
from unlearning.requests.deadlines import RULES, Rule
from unlearning.requests.entry import Due, Entry, Event, Sealed
from unlearning.requests.migration import EVERY_MODEL
from unlearning.requests.schema import Filed
from unlearning.requests.store import Store
from unlearning.requests.tables import APPROVALS, BATCHES, EVENTS, LINES, REQUESTS, TASKS

__all__ = ["Due", "Entry", "Event", "Ledger", "Sealed", "nothing_pending"]

CalledOff = Literal["cancelled", "revoked", "rejected"]
CALLED_OFF_BY: Mapping[str, CalledOff] = {"cancel": "cancelled", "revoke": "revoked", "decline": "rejected"}


class Ledger:
    """The ledger in one place: a path, `sqlite:///…` or `postgresql+psycopg2://…`. Reading creates nothing."""

    def __init__(
        self,
        place: Path | str,
        rules: Mapping[str, Rule] = RULES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._rules, self.clock = Store(place), rules, clock

    @classmethod
    def at(cls, place: Path | str, rules: Mapping[str, Rule] = RULES) -> Self:
        """The ledger of that path or URL. Raises StorageError for a URL that is none."""
        return cls(place, rules)

    @property
    def path(self) -> Path:
        """The SQLite file. Raises RequestError where the ledger is no file."""
        if self._store.path is None:
            raise RequestError(f"{self._store.name}: the ledger is no file")
        return self._store.path

    def reading(self) -> AbstractContextManager[Connection | None]:
        """One consistent look at the tables; None where no request was written yet."""
        return self._store.reading()

    def writing(self) -> AbstractContextManager[Connection]:
        """One transaction on the tables, alone: all of it, or nothing."""
        return self._store.writing()

    def register(self, model: str, dataset: str) -> None:
        """`model` was trained on `dataset`, so it owes every request about it. Again: nothing changes."""
        with self._store.writing() as db:
            _register(db, model, dataset, self.clock())

    def add(self, filed: Sequence[Filed], source: str = "cli") -> list[Entry]:
        """Take requests in, all or none. A request that is there already gets its entry again: exactly once.

        Raises ConflictError if an id comes back with another body.
        """
        return self.take(filed, source)[0]

    def take(self, filed: Sequence[Filed], source: str) -> tuple[list[Entry], int]:
        """`add`, and how many of the requests are new."""
        with self._store.writing() as db:
            last = queries.last(db)
            entries = writes.take_in(db, filed, self.clock(), source, self._rules)
        return entries, len({entry.seq for entry in entries if entry.seq > last})

    def counts(self) -> dict[str, int]:
        """How many requests stand where; one that several models owe counts for each."""
        with self._store.reading() as db:
            return {} if db is None else queries.counts(db)

    def entries(self, batch: str | None = None) -> list[Entry]:
        """The tasks of one batch, in the order their requests came; without one, every request as it stands now."""
        with self._store.reading() as db:
            if db is None:
                return []
            return queries.current(db) if batch is None else queries.of_batch(db, batch)

    def find(self, request_id: str) -> list[Entry]:
        """The requests of that id, one a controller and live task."""
        if not request_id.isprintable():  # no name here is: half a surrogate pair, or a NUL, breaks a driver
            return []
        with self._store.reading() as db:
            return queries.current(db, REQUESTS.c.request_id == request_id) if db is not None else []

    def listed(
        self,
        state: str | None = None,
        batch: str | None = None,
        model: str | None = None,
        most: int | None = None,
    ) -> list[Entry]:
        """Requests as they stand now, oldest first: only those in a state, of a batch, of a model; at most so many."""
        if not f"{batch}{model}".isprintable():
            return []
        where: list[ColumnElement[bool]] = []
        where += [] if batch is None else [TASKS.c.batch == batch]
        where += [] if model is None else [TASKS.c.model == model]
        with self._store.reading() as db:
            return [] if db is None else queries.current(db, *where, state=state, most=most)

    def tasks(self, entry: Entry) -> list[Entry]:
        """Every task of a request, whatever became of it, in the order they were made."""
        with self._store.reading() as db:
            return [] if db is None else queries.tasks(db, entry.seq)

    def events(self, entry: Entry, every: bool = False) -> list[Event]:
        """What happened to a request and the entry's task (or to `every` task of it), oldest first."""
        with self._store.reading() as db:
            if db is None:
                return []
            columns = (EVENTS.c[name] for name in ("seq", "at", "old", "new", "batch", "reason", "kind", "task_seq"))
            mine = [] if every else [EVENTS.c.task_seq.is_(None) | (EVENTS.c.task_seq == entry.task)]
            told = select(*columns).where(EVENTS.c.request_seq == entry.seq, *mine).order_by(EVENTS.c.seq)
            return [Event(*row) for row in db.execute(told)]

    def pending(
        self, model: str, dataset: str | None, before: datetime | None = None, most: int | None = None
    ) -> list[Entry]:
        """Verified requests that no live task of `model` stands for, of the oldest one's goal."""
        with self._store.reading() as db:
            return [] if db is None else queries.pending(db, model, dataset, _stamp(before), most)

    def waiting(self) -> list[Entry]:
        """Every verified request that some registered model has yet to take up, or that no model is registered for."""
        with self._store.reading() as db:
            return [] if db is None else queries.alone(db, queries.waiting())

    def seal(
        self, batch: str, model: str, dataset: str, before: datetime | None = None, most: int | None = None
    ) -> list[Entry]:
        """What is pending for `model` joins `batch`, once: a sealed batch stays as it is. See `sealing`."""
        with self.sealing(batch, model, dataset, before, most) as sealed:
            return sealed.entries

    @contextmanager
    def sealing(
        self, batch: str, model: str, dataset: str, before: datetime | None = None, most: int | None = None
    ) -> Iterator[Sealed]:
        """`seal`, kept only if the block ends well: it writes the requests, and when they were sealed, to a file.

        Raises RequestError if nothing is pending, or the batch was sealed for another model.
        """
        with self._store.writing() as db:
            sealed = queries.sealed(db, batch)
            if sealed is None:
                joining = queries.pending(db, model, dataset, _stamp(before), most)
                if not joining:
                    raise RequestError(nothing_pending(batch, dataset))
                now = self.clock()
                _register(db, model, dataset, now)
                row = {"key": batch, "model": model, "dataset": dataset, "goal": joining[0].goal}
                db.execute(insert(BATCHES), row | {"sealed_at": deadlines.stamp(now), "cut_off": _stamp(before)})
                writes.join(db, batch, model, joining, now)
                sealed = queries.sealed(db, batch)
                assert sealed is not None
            elif sealed.model not in (model, EVERY_MODEL):
                raise RequestError(
                    f"batch {batch} was sealed for model {sealed.model}, not {model}; another key is right"
                )
            yield sealed

    def move(self, entry: Entry, new: str, reason: str) -> None:
        """Change the state of a task, or of a request alone. Raises RequestError if that is not legal from its own."""
        with self._store.writing() as db:
            if entry.task is not None:
                now = queries.of_task(db, entry.task)
            else:
                now = queries.request(db, entry.controller_id, entry.request_id)
                states.require(now.state, new, now.request_id)
                if new not in states.OF_A_REQUEST:
                    raise RequestError(f"request {now.request_id}: only sealing a batch makes it {new}")
                _refuse_live(db, now)
            writes.walk(db, [(now, (new,))], reason, self.clock())

    def advance(self, batch: str, new: str, reason: str) -> int:
        """Walk the live tasks of a batch along the main line to `new`; how many moved. Again: nothing moves.

        `failed` is reached from wherever they stand. Tasks that ended, or were left out, stay as they are.
        """
        with self._store.writing() as db:
            moves = [(entry, states.steps(entry.state, new)) for entry in queries.of_batch(db, batch)]
            return writes.walk(db, moves, reason, self.clock())

    def close_batch(self, batch: str, promoted: bool, reason: str) -> int:
        """End a batch's tasks: `promoted`, or `failed` with a reason code, from which it may be tried again."""
        return self.advance(batch, "promoted" if promoted else "failed", reason)

    def requeue(self, batch: str, reason: str) -> int:
        """The failed tasks of a batch end, and their requests wait for the model again; how many. Again: none."""
        return self.end(batch, "failed", "requeued", reason)

    def roll_back(self, batch: str, reason: str) -> int:
        """The promoted tasks of a batch are undone, and their requests wait for the model again; how many."""
        return self.end(batch, "promoted", "rolled_back", reason)

    def hold(self, controller_id: str, request_id: str, reason: str) -> None:
        """A legal hold: its data are kept until `release`. Raises RequestError past a task's point of no return."""
        with self._store.writing() as db:
            entry, live = queries.unsettled(db, controller_id, request_id)
            leaving = [(task, ("requeued",)) for task in live if task.state not in states.SETTLED]
            writes.walk(db, [*leaving, (entry, ("on_hold",))], reason, self.clock())

    def release(self, controller_id: str, request_id: str, reason: str) -> None:
        """End a hold: the request waits for its models again. Raises RequestError if it is not held."""
        with self._store.writing() as db:
            entry = queries.request(db, controller_id, request_id)
            if entry.state != "on_hold":
                raise RequestError(f"request {request_id}: is {entry.state}, not on_hold; nothing to release")
            writes.walk(db, [(entry, (states.PENDING,))], reason, self.clock())

    def call_off(self, controller_id: str, request_id: str, how: CalledOff, reason: str) -> None:
        """End a request unserved. Raises RequestError if it has ended, or past the point of no return of a task."""
        with self._store.writing() as db:
            entry, live = queries.unsettled(db, controller_id, request_id)
            leaving = [(task, (how,)) for task in live if task.state not in states.SETTLED]
            writes.walk(db, [*leaving, (entry, (how,))], reason, self.clock())

    def approve(self, entry: Entry, what: str, digest: str, role: str) -> None:
        """A role approves a proposal, which `digest` names, for one request. Again: nothing changes.

        Raises RequestError where one of the three is no code: what is free text would stay for ever.
        """
        with self._store.writing() as db:
            named = (writes.code(what), writes.code(digest))
            if named in queries.approved(db, entry):
                return
            now = self.clock()
            row = {"request_seq": entry.seq, "what": what, "digest": digest, "role": writes.code(role)}
            db.execute(insert(APPROVALS), row | {"at": deadlines.stamp(now)})
            writes.note(db, queries.request(db, entry.controller_id, entry.request_id), "approval", what, now)

    def approved(self, entry: Entry) -> set[tuple[str, str]]:
        """What was approved for one request: (what, digest of the proposal)."""
        with self._store.reading() as db:
            return set() if db is None else queries.approved(db, entry)

    def extend(self, controller_id: str, request_id: str, reason: str) -> None:
        """The rule's one extension. Raises RequestError: extended before, due already, or the rule knows none."""
        with self._store.writing() as db:
            entry, _ = queries.unsettled(db, controller_id, request_id)
            alarms.extend(db, entry, self._rules, reason, self.clock())

    def due(self, now: datetime, model: str | None = None, most: int | None = None) -> list[Due]:
        """Open requests, soonest first; of a model, those that it has yet to settle. At most so many."""
        with self._store.reading() as db:
            return [] if db is None else alarms.due(db, now, model, most)

    def ring(self, now: datetime) -> list[Due]:
        """Open requests that have come to 50, 75, 90 or 100 % of their legal time; each is told of, and noted, once."""
        with self._store.reading() as db:
            if db is None or not alarms.ringing(db, now):
                return []  # the common case writes nothing
        with self._store.writing() as db:
            return alarms.ring(db, now)

    def end(self, batch: str, old: str, new: str, reason: str) -> int:
        """The tasks of a batch that are `old` become `new`; how many. Again: none. Raises RequestError if not legal."""
        with self._store.writing() as db:
            ending = [(entry, (new,)) for entry in queries.of_batch(db, batch) if entry.state == old]
            return writes.walk(db, ending, reason, self.clock())


def nothing_pending(batch: str, dataset: str | None) -> str:
    """The sentence for a batch that has nothing to do."""
    about = f" about data set {dataset!r}" if dataset else ""
    return f"batch {batch}: no deletion request{about} is pending; file one with `unlearning request add FILE`"


def _register(db: Connection, model: str, dataset: str, now: datetime) -> None:
    line = select(LINES.c.model).where(LINES.c.model == model, LINES.c.dataset == dataset)
    if db.execute(line).first() is None:
        db.execute(insert(LINES), {"model": model, "dataset": dataset, "registered_at": deadlines.stamp(now)})


def _refuse_live(db: Connection, entry: Entry) -> None:
    live = [task for task in queries.tasks(db, entry.seq, only_live=True) if task.state not in states.SETTLED]
    if live:
        raise RequestError(f"request {entry.request_id}: joined batch {live[0].batch} meanwhile; look again")


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else deadlines.stamp(moment)
