"""When a deletion request must be answered: one rule a regulation, in calendar months or days, in UTC.

GDPR and UK GDPR, Art. 12(3): one month from receipt, two further months where the reasons are told within the first.
CCPA, 11 CCR 7021: 45 calendar days from receipt, whatever verification takes, and 45 more. A contract or a house rule:
days, from the settings.

A month is a calendar month: from 31 January to 28 or 29 February. The moment of the day stays, so a request is due
somewhat before the day that the law allows has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from dateutil.relativedelta import relativedelta
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearning.errors import RequestError

ALARMS = (0.5, 0.75, 0.9, 1.0)  # shares of the legal time at which somebody is told


class Rule(BaseModel):
    """How long one regulation gives. Of a period in months and days, both are added."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    months: int = Field(0, ge=0, le=120)
    days: int = Field(0, ge=0, le=3660)
    more_months: int = Field(0, ge=0, le=120, description="what the one extension adds")
    more_days: int = Field(0, ge=0, le=3660, description="what the one extension adds")
    weekend: Literal["none", "next_working_day"] = Field(
        "none", description="whether a last day that is a Saturday or Sunday moves to Monday"
    )

    def due(self, received: datetime, extended: bool = False) -> datetime:
        """The moment, in UTC, that many months and days after `received`, which has a zone."""
        start = received.astimezone(UTC)
        months = self.months + (self.more_months if extended else 0)
        days = self.days + (self.more_days if extended else 0)
        # Months from the start, not from the first due date: 31 January gives 28 February, and extended 30 April.
        end = start + relativedelta(months=months, days=days)
        if self.weekend == "next_working_day" and end.weekday() >= 5:
            end += timedelta(days=7 - end.weekday())
        return end

    @property
    def extensible(self) -> bool:
        """Whether the regulation knows an extension."""
        return bool(self.more_months or self.more_days)


RULES: Mapping[str, Rule] = {
    "gdpr": Rule(months=1, more_months=2),
    "uk_gdpr": Rule(months=1, more_months=2),
    "ccpa": Rule(days=45, more_days=45),
    "contract": Rule(days=30),
    "internal": Rule(days=30),
}
HOUSE = "house"  # a rule of that name holds for every request, beside its regulation's


@dataclass(frozen=True, slots=True)
class Deadline:
    """A due date, the id of the rule that gave it, and what it was computed from."""

    due_at: datetime
    rule: str
    inputs: dict[str, Any]


def table(replaced: Mapping[str, Any]) -> Mapping[str, Rule]:
    """RULES, with rules of the settings in place of some. Raises RequestError for one that is none."""
    rules = dict(RULES)
    for name, values in replaced.items():
        if name not in RULES and name != HOUSE:
            raise RequestError(
                f"deadline rule {name[:40]!r}: no request is of that regulation; {', '.join([*RULES, HOUSE])} are right"
            )
        try:
            rules[name] = Rule.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "the rule"
            raise RequestError(f"deadline rule {name!r}: {field}: {first['msg'].lower()}") from None
    return rules


def of(regulation: str, received: datetime, rules: Mapping[str, Rule], extended: bool = False) -> Deadline:
    """The earliest due date that a request's rules give: its regulation's, and the house's where there is one."""
    named = [name for name in (regulation, HOUSE) if name in rules]
    name = min(named, key=lambda one: rules[one].due(received, extended and rules[one].extensible))
    rule = rules[name]
    extended = extended and rule.extensible
    inputs = {"received_at": stamp(received), "extended": extended, **rule.model_dump(mode="json")}
    return Deadline(rule.due(received, extended), name, inputs)


def alarm_at(received: datetime, due: datetime, share: float) -> datetime:
    """The moment at which `share` of the legal time is used."""
    return received + (due - received) * share


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC to the millisecond: text in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
