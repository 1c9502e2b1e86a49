"""What the ledger tells: a request with its task, an event, a due date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unlearning.requests.schema import Request, parse


@dataclass(frozen=True, slots=True)
class Entry:
    """A task of one model joined with its request; a request that no live task stands for, alone."""

    seq: int
    controller_id: str
    request_id: str
    digest: str
    body: str
    goal: str
    dataset: str | None
    received_at: str
    due_at: str
    due_rule: str
    state: str  # of the task; of the request where it stands alone
    batch: str | None = None
    model: str | None = None
    attempt: int = 0
    task: int | None = None

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
            "due_at": self.due_at,
            "state": self.state,
            "model": self.model,
            "batch": self.batch,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a request or a task; of a note (an alarm, say), `old` and `new` are the state it stands in."""

    seq: int
    at: str
    old: str | None
    new: str
    batch: str | None
    reason: str
    kind: str = "state"
    task: int | None = None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch: its entries, of one model and one goal, and the moments that never change again."""

    entries: list[Entry]
    sealed_at: str
    model: str
    cut_off: str | None  # only what was received before that moment joined
    attempts: int  # from 1: one more than batches that failed one of its requests before


@dataclass(frozen=True, slots=True)
class Due:
    """An open request: when it is due, how much of the legal time is used, and who has yet to forget."""

    entry: Entry
    due_at: str
    used_share: float  # of the legal time; beyond 1 it is overdue
    alarm: float  # the highest reached: 0, 0.5, 0.75, 0.9 or 1
    owed_by: tuple[str, ...]  # models
