"""Every request exactly once, every change an event, nothing illegal, nothing half done."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from tests.toy_batch import request_body, request_id
from unlearning.errors import ConflictError, RequestError, StorageError
from unlearning.requests import states
from unlearning.requests.ledger import Ledger
from unlearning.requests.schema import Filed, parse


def filed(number: int = 1, **changes: Any) -> Filed:
    return parse(json.dumps(request_body(request_id=request_id(number), **changes)), "here")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    """One that holds nothing yet, in each of the two databases."""
    in_a_file = request.param == "sqlite"
    return Ledger(tmp_path / "ledger.sqlite" if in_a_file else request.getfixturevalue("postgres_database"))


@pytest.fixture
def in_a_file(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def test_the_same_request_gets_the_same_receipt_and_no_second_event(ledger: Ledger) -> None:
    (first,) = ledger.add([filed()])
    (again,) = ledger.add([filed()])
    assert again.receipt == first.receipt
    assert [(event.old, event.new) for event in ledger.events(first)] == [(None, "received"), ("received", "verified")]


def test_the_same_id_with_another_body_is_refused_and_takes_nothing_with_it(ledger: Ledger) -> None:
    (entry,) = ledger.add([filed()])
    for again in ([filed(2), filed(1, goal="never_seen")], [filed(2), filed(2, goal="never_seen")]):
        with pytest.raises(ConflictError, match="another body"):
            ledger.add(again)
    assert ledger.entries() == [entry]


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


def test_a_full_disk_is_said_as_everywhere_else(in_a_file: Ledger) -> None:
    before = in_a_file.add([filed()])
    with pytest.raises(StorageError, match="the disk is full; what stood there before"), in_a_file.writing() as db:
        _fill(db)
    assert in_a_file.entries() == before


def _fill(db: Connection) -> None:
    db.execute(text("PRAGMA max_page_count = 1"))  # as large as it is now, and no page larger
    db.execute(text("CREATE TABLE more AS SELECT zeroblob(1000000) AS zeros"))


@pytest.mark.parametrize("statement", ["UPDATE events SET new = 'completed'", "DELETE FROM events"])
def test_events_stay(ledger: Ledger, statement: str) -> None:
    ledger.add([filed()])
    with pytest.raises(StorageError, match="events are never"), ledger.writing() as db:
        db.execute(text(statement))
    assert [event.new for event in ledger.events(ledger.entries()[0])] == ["received", "verified"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE requests SET state = 'promoted'",  # a state of tasks
        "UPDATE tasks SET state = 'forgotten'",
        "INSERT INTO tasks (request_seq, model, attempt, batch, state) VALUES (1, 'm', 2, 'b1', 'resolving')",
    ],
)
def test_the_database_itself_refuses_what_cannot_be(ledger: Ledger, statement: str) -> None:
    ledger.add([filed()])
    before = ledger.seal("b1", "m", "toys")
    with pytest.raises(StorageError, match="nothing was changed"), ledger.writing() as db:
        db.execute(text(statement))
    assert ledger.entries("b1") == before


def test_a_request_is_owed_by_every_model_of_its_data_set(ledger: Ledger) -> None:
    ledger.add([filed(1), filed(2, dataset="faces"), filed(3, dataset=None)])
    ledger.register("toys-2", "toys")
    ledger.register("toys-2", "toys")
    ledger.seal("b1", "toys-1", "toys")
    ledger.close_batch("b1", promoted=True, reason="promoted")
    assert [entry.request_id for entry in ledger.pending("toys-2", "toys")] == [request_id(1), request_id(3)]
    assert ledger.pending("toys-1", "toys") == []
    assert [entry.request_id for entry in ledger.waiting()] == [request_id(n) for n in (1, 2, 3)]
    with pytest.raises(RequestError, match="batch b1 was sealed for model toys-1, not toys-2"):
        ledger.seal("b1", "toys-2", "toys")


def test_a_cut_off_and_a_limit_leave_the_rest_to_the_next_batch(ledger: Ledger) -> None:
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    ledger.clock = lambda: moment
    ledger.add([filed(1), filed(2), filed(3)])
    late = moment + timedelta(days=1)
    ledger.clock = lambda: late
    ledger.add([filed(4)])
    with ledger.sealing("b1", "m", "toys", before=late, most=2) as sealed:
        assert [entry.request_id for entry in sealed.entries] == [request_id(1), request_id(2)]
        assert (sealed.cut_off, sealed.model) == ("2026-11-02T00:00:00.000+00:00", "m")
    assert [entry.request_id for entry in ledger.seal("b2", "m", "toys", before=late)] == [request_id(3)]
    with ledger.sealing("b1", "m", "toys") as again:  # whatever is asked for: what was sealed stays
        assert again == sealed


def test_where_a_batch_is_bounded_controllers_take_turns(ledger: Ledger) -> None:
    """A flood of one keeps nobody waiting, the oldest of all is always in, and without a bound all are."""
    ledger.add([filed(number) for number in range(1, 6)])
    ledger.add([filed(6, controller_id="shop-2"), filed(7, controller_id="shop-3", goal="never_seen")])
    ledger.add([filed(8, controller_id="shop-2")])
    taken = {most: [entry.request_id for entry in ledger.pending("m", "toys", most=most)] for most in (1, 2, 3, 4, 9)}
    assert taken == {
        1: [request_id(1)],
        2: [request_id(1), request_id(6)],
        3: [request_id(1), request_id(2), request_id(6)],
        4: [request_id(1), request_id(2), request_id(6), request_id(8)],
        9: [request_id(number) for number in (1, 2, 3, 4, 5, 6, 8)],
    }
    ledger.seal("b1", "m", "toys", most=3)
    assert [entry.request_id for entry in ledger.seal("b2", "m", "toys", most=2)] == [request_id(3), request_id(8)]


def test_a_refused_batch_is_left_to_a_later_one_and_a_rolled_back_one_too(ledger: Ledger) -> None:
    ledger.add([filed()])
    (first,) = ledger.seal("b1", "m", "toys")
    assert ledger.requeue("b1", "tried_thrice") == 0  # it has not failed
    ledger.advance("b1", "evaluating", "stage_made")
    ledger.close_batch("b1", promoted=False, reason="gates_refused")
    assert (ledger.requeue("b1", "tried_thrice"), ledger.requeue("b1", "tried_thrice")) == (1, 0)
    (second,) = ledger.seal("b2", "m", "toys")
    assert (second.attempt, second.batch) == (2, "b2")
    ledger.close_batch("b2", promoted=True, reason="promoted")
    assert (ledger.roll_back("b2", "harm"), ledger.roll_back("b2", "harm")) == (1, 0)
    (third,) = ledger.seal("b3", "m", "toys")
    assert [(task.batch, task.state) for task in ledger.tasks(third)] == [
        ("b1", "requeued"),
        ("b2", "rolled_back"),
        ("b3", "resolving"),
    ]
    assert [event.old for event in ledger.events(first)][-1] == "failed"


def test_a_hold_takes_a_request_out_of_its_batch_and_a_release_brings_it_back(ledger: Ledger) -> None:
    ledger.add([filed(1), filed(2)])
    ledger.seal("b1", "m", "toys")
    ledger.hold("shop-1", request_id(1), "litigation")
    assert [entry.state for entry in ledger.entries("b1")] == ["requeued", "resolving"]
    assert ledger.pending("m", "toys") == []
    with pytest.raises(RequestError, match="on_hold cannot become on_hold"):
        ledger.hold("shop-1", request_id(1), "litigation")
    ledger.release("shop-1", request_id(1), "settled")
    assert [entry.request_id for entry in ledger.pending("m", "toys")] == [request_id(1)]
    ledger.advance("b1", "scheduled", "manifest_frozen")
    with pytest.raises(RequestError, match="scheduled cannot become requeued"):
        ledger.hold("shop-1", request_id(2), "litigation")


def test_an_approval_is_of_one_proposal_and_given_once(ledger: Ledger) -> None:
    (entry,) = ledger.add([filed()])
    for _ in range(2):
        ledger.approve(entry, "near_duplicates", "ab" * 32, "privacy-officer")
    assert ledger.approved(entry) == {("near_duplicates", "ab" * 32)}
    assert [event.kind for event in ledger.events(entry)] == ["state", "state", "approval"]


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database, whatever its name says" * 40)
    for use in (Ledger(path).entries, lambda: Ledger(path).add([filed()])):
        with pytest.raises(StorageError, match=r"ledger\.sqlite"):
            use()
    assert path.read_bytes().startswith(b"not a database")


def test_reading_creates_nothing(in_a_file: Ledger) -> None:
    ledger = in_a_file
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


def test_a_batch_whose_input_was_refused_before_its_images_were_known_fails_and_waits_again(ledger: Ledger) -> None:
    ledger.add([filed()])
    ledger.seal("b1", "m", "toys")
    assert ledger.close_batch("b1", promoted=False, reason="input_refused") == 1
    assert [entry.state for entry in ledger.entries("b1")] == ["failed"]
    assert ledger.requeue("b1", "input_refused") == 1
    assert [entry.attempt for entry in ledger.seal("b2", "m", "toys")] == [2]


def test_only_a_refused_batch_counts_as_an_attempt(ledger: Ledger) -> None:
    ledger.add([filed()])
    (entry,) = ledger.seal("b1", "m", "toys")
    ledger.hold(entry.controller_id, entry.request_id, "legal_hold")
    ledger.release(entry.controller_id, entry.request_id, "hold_ended")
    with ledger.sealing("b2", "m", "toys") as sealed:
        assert (sealed.entries[0].attempt, sealed.attempts) == (2, 1)
    ledger.advance("b2", "scheduled", "manifest_frozen")
    ledger.close_batch("b2", promoted=False, reason="gates_refused")
    ledger.requeue("b2", "gates_refused")
    with ledger.sealing("b3", "m", "toys") as sealed:
        assert (sealed.entries[0].attempt, sealed.attempts) == (3, 2)
    with ledger.sealing("b2", "m", "toys") as sealed:
        assert sealed.attempts == 1  # as it was sealed, whatever came after it
