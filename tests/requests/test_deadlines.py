"""A due date is calendar-correct whatever the day, the year and the zone; an alarm rings once; one extension."""

from __future__ import annotations

import json
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.requests.test_ledger import filed
from tests.toy_batch import request_id
from unlearning.errors import RequestError
from unlearning.requests import deadlines
from unlearning.requests.deadlines import RULES, Rule
from unlearning.requests.ledger import Ledger

ZONES = [timezone(timedelta(hours=hours)) for hours in range(-12, 15)]


def month_later(day: date, months: int) -> date:
    """By the calendar alone: the same day of a later month, or that month's last."""
    year, month = divmod(12 * day.year + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


@pytest.mark.parametrize("year", [2023, 2024])  # the next one is a leap year; this one is
def test_a_month_is_a_calendar_month_from_every_day_and_in_every_zone(year: int) -> None:
    """All days of a leap year and of another, at an hour at which zones disagree about the date."""
    rule = RULES["gdpr"]
    for number in range(366 if year == 2024 else 365):
        instant = datetime(year, 1, 1, 23, 30, tzinfo=UTC) + timedelta(days=number)
        expected = [month_later(instant.date(), months) for months in (1, 3)]
        for zone in ZONES:
            received = instant.astimezone(zone)
            found = [rule.due(received), rule.due(received, extended=True)]
            assert [one.date() for one in found] == expected
            assert all(one.utcoffset() == timedelta(0) and one.timetz() == instant.timetz() for one in found)


@pytest.mark.parametrize(
    ("received", "due", "extended"),
    [
        ("2026-01-31T12:00:00+00:00", "2026-02-28", "2026-04-30"),
        ("2028-01-31T12:00:00+00:00", "2028-02-29", "2028-04-30"),
        ("2026-12-31T23:59:59+00:00", "2027-01-31", "2027-03-31"),
        ("2026-03-01T00:30:00+14:00", "2026-03-28", "2026-05-28"),  # in UTC it is still February
    ],
)
def test_the_ends_of_months(received: str, due: str, extended: str) -> None:
    moment = datetime.fromisoformat(received)
    assert RULES["gdpr"].due(moment).date() == date.fromisoformat(due)
    assert RULES["uk_gdpr"].due(moment, extended=True).date() == date.fromisoformat(extended)


def test_days_are_calendar_days() -> None:
    moment = datetime(2026, 11, 22, 2, tzinfo=UTC)
    assert RULES["ccpa"].due(moment) - moment == timedelta(days=45)
    assert RULES["ccpa"].due(moment, extended=True) - moment == timedelta(days=90)


@pytest.mark.parametrize("days", range(7))
def test_a_weekend_moves_to_monday_where_the_rule_says_so(days: int) -> None:
    friday = datetime(2026, 11, 20, 9, tzinfo=UTC)
    moved = Rule(days=days, weekend="next_working_day").due(friday)
    plain = Rule(days=days).due(friday)
    assert moved.weekday() < 5
    assert moved - plain == timedelta(days={5: 2, 6: 1}.get(plain.weekday(), 0))


def test_the_earliest_rule_counts_and_its_inputs_are_kept() -> None:
    moment = datetime(2026, 11, 22, tzinfo=UTC)
    rules = deadlines.table({"house": {"days": 14}, "internal": {"days": 7}})
    assert deadlines.of("gdpr", moment, rules).rule == "house"
    found = deadlines.of("internal", moment, rules)
    assert (found.rule, found.due_at) == ("internal", datetime(2026, 11, 29, tzinfo=UTC))
    assert found.inputs["received_at"] == "2026-11-22T00:00:00.000+00:00"
    assert (
        Rule.model_validate({k: v for k, v in found.inputs.items() if k in Rule.model_fields}).due(
            datetime.fromisoformat(found.inputs["received_at"])
        )
        == found.due_at
    )


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"gpdr": {"days": 3}}, "no request is of that regulation"),
        ({"gdpr": {"weeks": 3}}, "rule 'gdpr': weeks"),
        ({"gdpr": {"days": -1}}, "rule 'gdpr': days"),
    ],
)
def test_a_rule_that_is_none_is_refused(replaced: dict[str, dict[str, int]], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        deadlines.table(replaced)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_alarms_ring_once_each_and_anew_after_the_one_extension(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path / "ledger.sqlite", clock=clock)
    (entry,) = ledger.add([filed(regulation="ccpa")])
    rung = []
    for day in range(0, 41):
        clock.now = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day)
        rung += [(day, one.alarm) for one in ledger.ring(clock.now)]
        assert ledger.ring(clock.now) == []
    assert rung == [(23, 0.5), (34, 0.75)]
    ledger.hold("shop-1", entry.request_id, "litigation")  # an alarm rings in every open state
    clock.now = datetime(2026, 12, 15, tzinfo=UTC)  # day 44
    assert [one.alarm for one in ledger.ring(clock.now)] == [0.9]
    ledger.extend("shop-1", entry.request_id, "complexity")
    (due,) = ledger.due(clock.now)
    assert (due.due_at[:10], round(due.used_share, 3), due.alarm) == ("2027-01-30", 0.489, 0.0)
    with pytest.raises(RequestError, match=r"was extended before \(complexity\)"):
        ledger.extend("shop-1", entry.request_id, "complexity")
    clock.now = datetime(2027, 2, 1, tzinfo=UTC)  # nobody looked in between: the highest is told, all are noted
    assert [one.alarm for one in ledger.ring(clock.now)] == [1.0]
    notes = [event.reason for event in ledger.events(entry) if event.kind == "alarm"]
    assert notes == ["alarm_50", "alarm_75", "alarm_90", "alarm_50", "alarm_75", "alarm_90", "alarm_100"]


def test_an_extension_comes_before_the_due_date_and_only_where_the_rule_knows_one(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path / "ledger.sqlite", clock=clock)
    ledger.add([filed(1), filed(2, regulation="internal")])
    with pytest.raises(RequestError, match="knows no extension"):
        ledger.extend("shop-1", request_id(2), "complexity")
    with pytest.raises(RequestError, match="the reason is not a code") as refused:
        ledger.extend("shop-1", request_id(1), "Mrs Smith called")
    assert "Smith" not in str(refused.value)
    clock.now = datetime(2026, 12, 1, tzinfo=UTC)
    with pytest.raises(RequestError, match="was due at 2026-12-01"):
        ledger.extend("shop-1", request_id(1), "complexity")


def test_what_is_settled_is_neither_due_nor_rings_until_it_is_rolled_back(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path / "ledger.sqlite", clock=clock)
    ledger.add([filed()])
    ledger.register("other", "toys")
    ledger.seal("b1", "m", "toys")
    ledger.close_batch("b1", promoted=True, reason="promoted")
    clock.now = datetime(2026, 11, 29, tzinfo=UTC)
    assert [one.owed_by for one in ledger.due(clock.now)] == [("other",)]  # every model must forget it
    assert ledger.due(clock.now, "m") == []
    ledger.seal("b2", "other", "toys")
    ledger.close_batch("b2", promoted=True, reason="promoted")
    assert (ledger.due(clock.now), ledger.ring(clock.now)) == ([], [])
    ledger.roll_back("b1", "harmed_retained")
    (due,) = ledger.due(clock.now, "m")
    assert (due.owed_by, due.entry.batch) == (("m",), None)
    assert [one.alarm for one in ledger.ring(clock.now)] == [0.9]


def test_rules_come_from_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unlearning.verbs import _ledger
    from unlearning.workspace import Workspace

    monkeypatch.setenv("UNLEARNING_DEADLINES", json.dumps({"gdpr": {"days": 3}}))
    (entry,) = _ledger.of(Workspace(tmp_path)).add([filed()])
    assert datetime.fromisoformat(entry.due_at) - datetime.fromisoformat(entry.received_at) == timedelta(days=3)


def test_of_an_extended_regulation_and_the_house_the_earlier_holds() -> None:
    """A month of GDPR is earlier than the house's 45 days, its extended three are not."""
    received = datetime(2026, 1, 1, tzinfo=UTC)
    rules = deadlines.table({"house": {"days": 45}})
    assert deadlines.of("gdpr", received, rules).rule == "gdpr"
    extended = deadlines.of("gdpr", received, rules, extended=True)
    assert (extended.rule, extended.due_at) == ("house", datetime(2026, 2, 15, tzinfo=UTC))
    assert extended.inputs["extended"] is False


@pytest.mark.usefixtures("elsewhere")
def test_where_the_machine_stands_does_not_matter() -> None:
    moment = datetime(2026, 1, 31, 20, tzinfo=UTC)  # there, it is February
    due = RULES["gdpr"].due(moment)
    assert (due.isoformat(), due.utcoffset()) == ("2026-02-28T20:00:00+00:00", timedelta(0))
    assert deadlines.stamp(moment) == "2026-01-31T20:00:00.000+00:00"
    assert deadlines.of("gdpr", moment, RULES).inputs["received_at"] == "2026-01-31T20:00:00.000+00:00"


def test_a_rule_that_is_none_is_named_with_those_that_are() -> None:
    with pytest.raises(RequestError) as refused:
        deadlines.table({"g" * 41: {"days": 3}})
    assert str(refused.value) == (
        f"deadline rule {'g' * 40!r}: no request is of that regulation; "
        "gdpr, uk_gdpr, ccpa, contract, internal, house are right"
    )
    with pytest.raises(RequestError) as refused:
        deadlines.table({"gdpr": {"weeks": 3}})
    assert str(refused.value) == "deadline rule 'gdpr': weeks: extra inputs are not permitted"
    with pytest.raises(RequestError) as refused:
        deadlines.table({"gdpr": 3})
    assert str(refused.value).startswith("deadline rule 'gdpr': the rule: input should be a valid dictionary")
