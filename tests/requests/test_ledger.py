"""Every request exactly once, every change an event, nothing illegal, nothing half done."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.toy_batch import request_body, request_id
from unlearning.errors import RequestError, StorageError
from unlearning.requests import states
from unlearning.requests.ledger import Ledger
from unlearning.requests.schema import Filed, parse


def filed(number: int = 1, **changes: Any) -> Filed:
    return parse(json.dumps(request_body(request_id=request_id(number), **changes)), "here")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def test_the_same_request_gets_the_same_receipt_and_no_second_event(ledger: Ledger) -> None:
    (first,) = ledger.add([filed()])
    (again,) = ledger.add([filed()])
    assert again.receipt == first.receipt
    assert [(event.old, event.new) for event in ledger.events(first)] == [(None, "received"), ("received", "verified")]


def test_the_same_id_with_another_body_is_refused_and_takes_nothing_with_it(ledger: Ledger) -> None:
    ledger.add([filed()])
    before = ledger.path.read_bytes()
    with pytest.raises(RequestError, match="another body"):
        ledger.add([filed(2), filed(1, goal="never_seen")])
    assert ledger.path.read_bytes() == before
    assert len(ledger.entries()) == 1


def test_two_controllers_may_use_one_id(ledger: Ledger) -> None:
    ledger.add([filed(), filed(controller_id="shop-2")])
    assert [entry.controller_id for entry in ledger.find(request_id(1))] == ["shop-1", "shop-2"]


def test_a_batch_takes_one_goal_and_one_data_set_and_is_sealed_once(ledger: Ledger) -> None:
    bodies = [filed(1), filed(2, goal="never_seen"), filed(3), filed(4, dataset="faces"), filed(5, dataset="toys")]
    ledger.add(bodies)
    assert [entry.request_id for entry in ledger.seal("b1", "m", "toys")] == [request_id(n) for n in (1, 3, 5)]
    ledger.add([filed(6)])
    assert [entry.request_id for entry in ledger.seal("b1", "m", "toys")] == [request_id(n) for n in (1, 3, 5)]
    assert [entry.request_id for entry in ledger.seal("b2", "m", "toys")] == [request_id(2)]
    assert [entry.request_id for entry in ledger.waiting()] == [request_id(4), request_id(6)]


def test_a_batch_without_requests_is_refused(ledger: Ledger) -> None:
    with pytest.raises(RequestError, match="no deletion request about data set 'toys' is pending"):
        ledger.seal("b1", "m", "toys")


def test_a_batch_walks_the_line_once(ledger: Ledger) -> None:
    ledger.add([filed(1), filed(2)])
    first, second = ledger.seal("b1", "m", "toys")
    ledger.move(second, "not_found", "no_stored_image_matches")
    assert ledger.advance("b1", "evaluating", "stage_made") == 1
    assert ledger.advance("b1", "evaluating", "stage_made") == 0
    assert ledger.advance("b1", "scheduled", "stage_made") == 0
    assert ledger.close_batch("b1", promoted=True, reason="promoted") == 1
    assert ledger.close_batch("b1", promoted=True, reason="promoted") == 0
    walked = [event.new for event in ledger.events(first)]
    assert walked[2:] == ["resolving", "scheduled", "unlearning", "evaluating", "ready", "promoted"]
    assert ledger.find(request_id(2))[0].state == "not_found"


def test_a_refused_batch_fails_and_comes_back_when_a_later_attempt_is_ready(ledger: Ledger) -> None:
    ledger.add([filed()])
    (entry,) = ledger.seal("b1", "m", "toys")
    ledger.advance("b1", "evaluating", "stage_made")
    assert ledger.close_batch("b1", promoted=False, reason="gates_refused") == 1
    assert ledger.advance("b1", "unlearning", "stage_made") == 0
    assert ledger.find(entry.request_id)[0].state == "failed"
    assert ledger.advance("b1", "ready", "gates_passed") == 1
    assert ledger.find(entry.request_id)[0].state == "ready"


def test_nothing_is_called_off_after_its_manifest_is_frozen(ledger: Ledger) -> None:
    ledger.add([filed()])
    (entry,) = ledger.seal("b1", "m", "toys")
    ledger.advance("b1", "scheduled", "manifest_frozen")
    with pytest.raises(RequestError, match="scheduled cannot become cancelled; what may follow: failed, unlearning"):
        ledger.move(entry, "cancelled", "called_off_by_operator")


@pytest.mark.parametrize("statement", ["UPDATE events SET new = 'completed'", "DELETE FROM events"])
def test_events_stay(ledger: Ledger, statement: str) -> None:
    ledger.add([filed()])
    with closing(sqlite3.connect(ledger.path)) as db, pytest.raises(sqlite3.IntegrityError, match="events are never"):
        db.execute(statement)


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database, whatever its name says" * 40)
    for use in (Ledger(path).entries, lambda: Ledger(path).add([filed()])):
        with pytest.raises(StorageError, match=r"ledger\.sqlite"):
            use()
    assert path.read_bytes().startswith(b"not a database")


def test_many_writers_take_a_request_in_once(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda n: Ledger(ledger.path).add([filed(n % 3)])[0].receipt, range(24)))
    assert len({receipt["received_at"] + receipt["request_id"] for receipt in receipts}) == 3
    assert [len(ledger.events(entry)) for entry in ledger.entries()] == [2, 2, 2]


def test_a_killed_writer_leaves_whole_requests(tmp_path: Path, repository: Path) -> None:
    """kill -9 while requests are taken in, one transaction each: every request is there with both events, or not."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.requests.test_ledger import Ledger, filed\n"
        "for number in range(10_000):\n"
        "    Ledger(Path(sys.argv[1])).add([filed(number)]); print(number, flush=True)\n"
    )
    path = tmp_path / "ledger.sqlite"
    words = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(words, cwd=repository, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(20)]
        writer.kill()
    ledger = Ledger(path)
    entries = ledger.entries()
    assert len(entries) >= len(said) == 20
    assert all(entry.state == "verified" and len(ledger.events(entry)) == 2 for entry in entries)
    again = ledger.add([filed(number) for number in range(20)])
    assert [entry.seq for entry in again] == [entry.seq for entry in entries[:20]]


def test_reading_creates_nothing(ledger: Ledger) -> None:
    assert ledger.entries() == []
    assert ledger.pending("m", "toys") == []
    assert not ledger.path.exists()


@pytest.mark.parametrize("hostile", ["'; DROP TABLE requests; --", "{{7*7}}", "%s", "\u202e", "ﾊﾛｰ", "=1+1"])
def test_a_selector_is_only_ever_a_value(ledger: Ledger, hostile: str) -> None:
    try:
        one = filed(selectors=[{"subject": hostile}])
    except RequestError:
        return
    (entry,) = ledger.add([one])
    assert entry.request.selectors[0].subject == hostile
    assert ledger.entries() == [entry]


def test_every_state_that_is_led_to_exists_and_the_end_is_the_end() -> None:
    led_to = {new for follows in states.LEGAL.values() for new in follows}
    assert led_to <= states.LEGAL.keys()
    assert states.LEGAL.keys() - led_to == {"received"}
    assert {state for state, follows in states.LEGAL.items() if not follows} == (
        {"completed", "not_found", "duplicate"} | states.CALLED_OFF | states.UNDONE
    )
    for old, new in zip(states.LINE, states.LINE[1:], strict=False):
        states.require(old, new, "r")


class AnyHistory(RuleBasedStateMachine):
    """Whatever is asked in whatever order: no request is lost, none has two effects, the events tell the state."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.home.name) / "ledger.sqlite")
        self.known: dict[str, str] = {}  # id -> digest
        self.sealed: dict[str, list[str]] = {}

    def teardown(self) -> None:
        self.home.cleanup()

    @rule(number=st.integers(0, 5), goal=st.sampled_from(["unreconstructable", "never_seen"]))
    def add(self, number: int, goal: str) -> None:
        one = filed(number, goal=goal)
        if self.known.get(request_id(number), one.digest) == one.digest:
            self.ledger.add([one])
            self.known[request_id(number)] = one.digest
        else:
            with pytest.raises(RequestError, match="another body"):
                self.ledger.add([one])

    @rule(batch=st.sampled_from(["a", "b"]))
    def seal(self, batch: str) -> None:
        if batch not in self.sealed and not self.ledger.pending("m", "toys"):
            with pytest.raises(RequestError, match="is pending"):
                self.ledger.seal(batch, "m", "toys")
            return
        names = [entry.request_id for entry in self.ledger.seal(batch, "m", "toys")]
        assert self.sealed.setdefault(batch, names) == names

    @rule(batch=st.sampled_from(["a", "b"]), new=st.sampled_from([*states.LINE, "failed"]))
    def advance(self, batch: str, new: str) -> None:
        self.ledger.advance(batch, new, "stage_made")
        assert self.ledger.advance(batch, new, "stage_made") == 0

    @rule(number=st.integers(0, 5), new=st.sampled_from(sorted(states.LEGAL)))
    def move(self, number: int, new: str) -> None:
        for entry in self.ledger.find(request_id(number)):
            if new in states.LEGAL[entry.state] and (entry.task is not None or new in states.OF_A_REQUEST):
                self.ledger.move(entry, new, "by_hand")
            else:
                with pytest.raises(RequestError, match=r"cannot become|only sealing"):
                    self.ledger.move(entry, new, "by_hand")

    @invariant()
    def the_events_tell_the_state(self) -> None:
        entries = self.ledger.entries()
        assert {entry.request_id: entry.digest for entry in entries} == self.known
        for entry in entries:
            events = self.ledger.events(entry)
            assert [event.old for event in events] == [None, *(event.new for event in events[:-1])]
            assert events[-1].new == entry.state
            assert all(event.new in states.LEGAL[event.old] for event in events if event.old is not None)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=15, stateful_step_count=20, deadline=None, derandomize=True)
