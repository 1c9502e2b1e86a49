"""The wall clock jumps years back or ahead between any two calls: the ledger counts what came, not what time it was."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from tests.faults.registry import Campaign, Fault
from tests.requests.test_ledger import filed
from tests.toy_batch import request_id
from unlearning.requests import batch_keys, deadlines
from unlearning.requests.deadlines import ALARMS, RULES
from unlearning.requests.ledger import Ledger

JUMPS = Fault(
    "clock",
    "the wall clock jumps up to ten years back or ahead",
    "between any two calls of the ledger: intake, a tick sealed twice, alarms, the end of a batch",
    "order as filed, due dates from the receipt, every alarm once, a tick sealed twice is one batch",
    "sequence numbers; due dates that are kept; an alarm is a row; the batch's key is a function of the tick",
)
MODEL, DATA = "m", "toys"


class Clock:
    """A clock that nobody can rely on."""

    def __init__(self, chance: random.Random) -> None:
        self.now, self._chance = datetime(2026, 11, 1, 12, tzinfo=UTC), chance

    def __call__(self) -> datetime:
        days = self._chance.choice((0.0, 0.01, 1, 40, 3650))
        self.now += timedelta(days=self._chance.uniform(-days, days))
        return self.now


def test_a_clock_that_jumps(campaign: Campaign, tmp_path: Path) -> None:
    for seed in range(campaign.times(2, 100)):
        chance = random.Random(seed)
        clock = Clock(chance)
        with campaign.trial(JUMPS):
            _one_history(Ledger(tmp_path / f"{seed}.sqlite", clock=clock), clock, chance)


def _one_history(ledger: Ledger, clock: Clock, chance: random.Random) -> None:
    ids = [request_id(number) for number in range(1, 7)]
    chance.shuffle(ids)
    for one in ids:
        ledger.add([filed(int(one[:8], 16))])
        ledger.ring(clock())
    assert [entry.request_id for entry in ledger.entries()] == ids  # as filed, whatever the clock said
    assert [entry.request_id for entry in ledger.pending(MODEL, DATA)] == ids
    before = {entry.request_id: (entry.received_at, entry.due_at) for entry in ledger.entries()}
    for received, due in before.values():
        rule = RULES["gdpr"].due(datetime.fromisoformat(received))
        assert due == deadlines.stamp(rule)
    batches = [_sealed_twice(ledger, clock, datetime(2026, 11, day, 2, tzinfo=UTC)) for day in (2, 9, 16)]
    assert len({one for batch in batches for one in batch}) == sum(len(batch) for batch in batches)
    assert all(batch == [one for one in ids if one in batch] for batch in batches)
    late = ledger.seal("all", MODEL, DATA) if ledger.pending(MODEL, DATA) else []
    assert sum(len(batch) for batch in batches) + len(late) == len(ids)  # nobody was left behind
    _rings_once(ledger, clock)
    assert {entry.request_id: (entry.received_at, entry.due_at) for entry in ledger.entries()} == before
    for entry in ledger.entries():
        assert entry.batch is not None
        ledger.close_batch(entry.batch, promoted=True, reason="promoted")
    assert ledger.due(clock()) == []
    for entry in ledger.entries():
        _is_a_walk([(event.old, event.new) for event in ledger.events(entry) if event.kind == "state"])


def _sealed_twice(ledger: Ledger, clock: Clock, tick: datetime) -> list[str]:
    """The requests of a tick's batch; the second time the clock says something else."""
    key = batch_keys.of_tick("weekly", tick)
    if not ledger.pending(MODEL, DATA, before=tick):
        return []
    with ledger.sealing(key, MODEL, DATA, before=tick) as first:
        found = [entry.request_id for entry in first.entries]
    clock()
    with ledger.sealing(batch_keys.of_tick("weekly", tick), MODEL, DATA, before=tick) as second:
        assert [entry.request_id for entry in second.entries] == found
        assert (second.sealed_at, second.cut_off) == (first.sealed_at, first.cut_off)
    assert all(datetime.fromisoformat(entry.received_at) < tick for entry in first.entries)
    return found


def _rings_once(ledger: Ledger, clock: Clock) -> None:
    """Twenty looks at a clock that jumps, then one long after every due date: each alarm of each request, once."""
    for _ in range(20):
        ledger.ring(clock())
    ledger.ring(datetime(2080, 1, 1, tzinfo=UTC))
    assert ledger.ring(clock()) == []
    expected = [f"alarm_{share:.0%}".rstrip("%") for share in ALARMS]
    for entry in ledger.entries():
        assert [event.reason for event in ledger.events(entry, every=True) if event.kind == "alarm"] == expected


def _is_a_walk(steps: Sequence[tuple[str | None, str]]) -> None:
    """Each event starts where the one before it ended."""
    assert steps[-1][1] == "promoted"
    for (_, came_to), (left, _) in pairwise(steps):
        assert left == came_to
