"""The point of no return of a batch: its forget manifest is frozen, and the ledger says so in one transaction.

Until then a request may be held or called off. A manifest that still names the images of one that left meanwhile must
not be frozen: it is made again.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from unlearning.requests import queries, states, writes
from unlearning.requests.entry import Entry
from unlearning.requests.ledger import Ledger
from unlearning.requests.tables import EVENTS

_OPEN = frozenset({"resolving", "in_review"})

Said = Mapping[tuple[str, str], tuple[str, str]]  # (controller id, request id) -> (state, reason), as resolved


def freeze(ledger: Ledger, batch: str, said: Said) -> bool:
    """Bring the tasks of `batch` to what its manifest says; False, with nothing moved, where one left meanwhile.

    What failed stays so until a later attempt is ready; but what is not forgotten now must not end with it.
    """
    with ledger.writing() as db:
        tasks = [(task, said.get((task.controller_id, task.request_id))) for task in queries.of_batch(db, batch)]
        if any(told is not None and told[0] == "scheduled" and _left(db, task) for task, told in tasks):
            return False
        for task, told in tasks:
            if told is None or task.state == told[0]:
                continue
            if task.state in _OPEN or (task.state == "failed" and told[0] != "scheduled"):
                writes.walk(db, [(task, (told[0],))], told[1], ledger.clock())
    return True


def _left(db: Connection, task: Entry) -> bool:
    """Whether it went before its images were frozen: afterwards, what it asked for was unlearned."""
    if task.state not in states.LEFT_OUT:
        return False
    frozen = select(EVENTS.c.seq).where(EVENTS.c.task_seq == task.task, EVENTS.c.new == "scheduled").limit(1)
    return db.execute(frozen).first() is None
