"""Random histories of a ledger beside a model of it in memory: whatever is asked in whatever order, the two agree.

No request is lost, none is in two live tasks of one model, every change has its event and the last event is the state,
nothing is overdue without an alarm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import select

from tests.requests.test_ledger import filed
from tests.toy_batch import request_id
from unlearning.errors import ConflictError, RequestError
from unlearning.requests import states
from unlearning.requests.ledger import CalledOff, Ledger
from unlearning.requests.tables import EVENTS

NUMBERS = st.integers(0, 4)
MODELS = st.sampled_from(["faces-1", "faces-2"])
BATCHES = st.sampled_from(["b1", "b2", "b3", "b4"])
LEAVABLE = frozenset({"resolving", "in_review", "failed"})  # a task that may still be left without an effect
REGULATIONS = {"gdpr": (31, 92), "ccpa": (45, 90), "internal": (30, 30)}  # days at most, and when extended


@dataclass
class Task:
    """What the ledger should say of one task."""

    model: str
    attempt: int
    batch: str
    state: str

    @property
    def live(self) -> bool:
        return self.state not in states.UNDONE


@dataclass
class Known:
    """What the ledger should say of one request."""

    digest: str
    goal: str
    regulation: str
    received: datetime
    state: str = "verified"
    extended: bool = False
    tasks: list[Task] = field(default_factory=list)

    def of(self, model: str) -> Task | None:
        return next((task for task in self.tasks if task.model == model and task.live), None)

    def settled(self, models: list[str]) -> bool:
        ends = [task for model in models if (task := self.of(model)) is not None and task.state in states.SETTLED]
        return bool(models) and len(ends) == len(models)


class Histories(RuleBasedStateMachine):
    """The rules of operation, in any order. `place` gives a ledger that holds nothing yet."""

    def __init__(self, place: Callable[[], str]) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)
        self.ledger = Ledger(place(), clock=lambda: self.now)
        self.known: dict[int, Known] = {}
        self.models: list[str] = []
        self.batches: dict[str, tuple[str, list[int]]] = {}

    @rule(number=NUMBERS, goal=st.sampled_from(["unreconstructable", "never_seen"]), by=st.sampled_from([*REGULATIONS]))
    def add(self, number: int, goal: str, by: str) -> None:
        one = filed(number, goal=goal, regulation=by)
        before = self.known.get(number)
        if before is not None and before.digest != one.digest:
            with pytest.raises(ConflictError, match="another body"):
                self.ledger.add([filed(number + 10), one])  # the first of the two is not taken in, either
            return
        self.ledger.add([one, one])
        self.known.setdefault(number, Known(one.digest, goal, by, self.now))

    @rule(batch=BATCHES, model=MODELS, late=st.booleans())
    def seal(self, batch: str, model: str, late: bool) -> None:
        cut_off = self.now - timedelta(days=9) if late else None
        if batch in self.batches:
            owner, numbers = self.batches[batch]
            if owner != model:
                with pytest.raises(RequestError, match="was sealed for model"):
                    self.ledger.seal(batch, model, "toys")
                return
            assert [entry.request_id for entry in self.ledger.seal(batch, model, "toys")] == _ids(numbers)
            return
        waiting = [number for number, one in self._in_order() if one.state == "verified" and one.of(model) is None]
        waiting = [number for number in waiting if cut_off is None or self.known[number].received < cut_off]
        joining = [number for number in waiting if self.known[number].goal == self.known[waiting[0]].goal]
        if not joining:
            with pytest.raises(RequestError, match="is pending"):
                self.ledger.seal(batch, model, "toys", cut_off)
            return
        assert [entry.request_id for entry in self.ledger.seal(batch, model, "toys", cut_off)] == _ids(joining)
        self.models = sorted({*self.models, model})
        self.batches[batch] = (model, joining)
        for number in joining:
            tasks = self.known[number].tasks
            attempt = 1 + sum(task.model == model for task in tasks)
            tasks.append(Task(model, attempt, batch, "resolving"))

    @rule(batch=BATCHES, new=st.sampled_from([*states.LINE, "failed"]))
    def advance(self, batch: str, new: str) -> None:
        moved = 0
        for task in self._tasks_of(batch):
            if new == "failed":
                goes = "failed" in states.LEGAL[task.state]
            elif task.state == "failed":
                goes = new in ("ready", "promoted")
            else:
                goes = task.state in states.LINE and states.LINE.index(task.state) < states.LINE.index(new)
            task.state = new if goes else task.state
            moved += goes
        assert self.ledger.advance(batch, new, "stage_made") == moved
        assert self.ledger.advance(batch, new, "stage_made") == 0

    @rule(batch=BATCHES, undo=st.sampled_from([("failed", "requeued"), ("promoted", "rolled_back")]))
    def undo(self, batch: str, undo: tuple[str, str]) -> None:
        old, new = undo
        ending = [task for task in self._tasks_of(batch) if task.state == old]
        assert (self.ledger.requeue if new == "requeued" else self.ledger.roll_back)(batch, "undone") == len(ending)
        for task in ending:
            task.state = new

    @rule(number=NUMBERS, new=st.sampled_from(sorted(states.OF_A_TASK)), model=MODELS)
    def move(self, number: int, new: str, model: str) -> None:
        task = self.known[number].of(model) if number in self.known else None
        if task is None:
            return
        entry = next(one for one in self.ledger.find(request_id(number)) if one.model == model)
        if new in states.LEGAL[task.state]:
            self.ledger.move(entry, new, "by_hand")
            task.state = new
        else:
            with pytest.raises(RequestError, match="cannot become"):
                self.ledger.move(entry, new, "by_hand")

    @rule(number=NUMBERS, how=st.sampled_from(["cancelled", "revoked", "rejected"]))
    def call_off(self, number: int, how: CalledOff) -> None:
        self._leave(number, how, how, lambda: self.ledger.call_off("shop-1", request_id(number), how, "asked"))

    @rule(number=NUMBERS)
    def hold(self, number: int) -> None:
        self._leave(number, "on_hold", "requeued", lambda: self.ledger.hold("shop-1", request_id(number), "court"))

    @rule(number=NUMBERS)
    def release(self, number: int) -> None:
        one = self.known.get(number)
        if one is None or one.state != "on_hold":
            with pytest.raises(RequestError):
                self.ledger.release("shop-1", request_id(number), "court")
            return
        self.ledger.release("shop-1", request_id(number), "court")
        one.state = "verified"

    @rule(number=NUMBERS)
    def extend(self, number: int) -> None:
        one = self.known.get(number)
        if one is None:
            return
        before = self.ledger.find(request_id(number))[0].due_at
        ended = one.settled(self.models) or one.state not in states.OPEN_REQUEST
        gone = ended or one.extended or one.regulation == "internal"
        if gone or before <= self.now.isoformat(timespec="milliseconds"):
            with pytest.raises(RequestError):
                self.ledger.extend("shop-1", request_id(number), "complex")
        else:
            self.ledger.extend("shop-1", request_id(number), "complex")
            one.extended = True

    @rule(days=st.integers(0, 40))
    def time_passes(self, days: int) -> None:
        """And the sensor rings: whatever is open and late was told of, once."""
        self.now += timedelta(days=days, milliseconds=1)
        self.ledger.ring(self.now)
        assert self.ledger.ring(self.now) == []
        open_now = {request_id(n) for n, one in self.known.items() if self._is_open(one)}
        due = self.ledger.due(self.now)
        assert {one.entry.request_id for one in due} == open_now
        for one in due:
            events = self.ledger.events(one.entry)
            since = max([0, *(event.seq for event in events if event.kind == "extension")])
            rung = [event.reason for event in events if event.kind == "alarm" and event.seq > since]
            assert rung == [f"alarm_{level}" for level in (50, 75, 90, 100) if one.used_share >= level / 100]

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        rows = {(entry.request_id, entry.model): entry for entry in self.ledger.entries()}
        expected: dict[tuple[str, str | None], tuple[str, str | None, int]] = {}
        for number, one in self.known.items():
            live = [task for task in one.tasks if task.live]
            for task in live:
                expected[request_id(number), task.model] = (task.state, task.batch, task.attempt)
            if not live:
                expected[request_id(number), None] = (one.state, None, 0)
        assert {name: (entry.state, entry.batch, entry.attempt) for name, entry in rows.items()} == expected
        assert {entry.request_id: entry.digest for entry in rows.values()} == {
            request_id(number): one.digest for number, one in self.known.items()
        }
        for entry in rows.values():
            days = REGULATIONS[entry.request.regulation][self.known[int(entry.request_id[:8], 16)].extended]
            length = datetime.fromisoformat(entry.due_at) - datetime.fromisoformat(entry.received_at)
            assert days - 4 < length.days <= days  # February

    @invariant()
    def the_events_tell_the_state(self) -> None:
        chains: dict[tuple[int, int | None], list[str]] = {}
        with self.ledger.reading() as db:
            told = [] if db is None else db.execute(select(EVENTS).order_by(EVENTS.c.seq)).all()
        for event in told:
            chain = chains.setdefault((event.request_seq, event.task_seq), [])
            if event.kind != "state":
                assert event.old == event.new == chain[-1]
                continue
            first = "verified" if event.task_seq is not None else None
            assert event.old == (chain[-1] if chain else first)
            assert event.old is None or event.new in states.LEGAL[event.old]
            chain.append(event.new)
        for entry in self.ledger.entries():
            told_of = chains[entry.seq, None][-1]
            assert told_of == self.known[int(entry.request_id[:8], 16)].state
            for task in self.ledger.tasks(entry) if entry.model is not None else ():
                assert chains[task.seq, task.task][-1] == task.state

    def _leave(self, number: int, new: str, of_a_task: str, ask: Callable[[], None]) -> None:
        one = self.known.get(number)
        live = [] if one is None else [task for task in one.tasks if task.live and task.state not in states.SETTLED]
        legal = one is not None and new in states.LEGAL[one.state] and not one.settled(self.models)
        if not legal or any(task.state not in LEAVABLE for task in live):
            with pytest.raises(RequestError):
                ask()
            return
        assert one is not None
        ask()
        one.state = new
        for task in live:
            task.state = of_a_task

    def _is_open(self, one: Known) -> bool:
        return one.state in states.OPEN_REQUEST and not one.settled(self.models)

    def _in_order(self) -> list[tuple[int, Known]]:
        return list(self.known.items())  # as they were filed

    def _tasks_of(self, batch: str) -> list[Task]:
        return [task for one in self.known.values() for task in one.tasks if task.batch == batch]


def _ids(numbers: list[int]) -> list[str]:
    return [request_id(number) for number in numbers]
