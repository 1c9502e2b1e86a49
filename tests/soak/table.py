"""A week as it went, and its lines of the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

HEAD = (
    f"{'week':>4}  {'in':>3} {'open':>4}  {'batch':<25}{'of':>3}{'runs':>5}  {'killed in':<21}{'verdict':<9}"
    f"{'rule':>4}{'champion':>9}{'s':>5}"
)


@dataclass(slots=True)
class Played:
    """One week: what came in, what was made of it, what is left open."""

    week: int
    requests_in: int = 0
    answers: dict[str, int] = field(default_factory=dict)  # HTTP status -> how often
    files_refused: int = 0
    batches: list[dict[str, Any]] = field(default_factory=list)
    purges: list[dict[str, Any]] = field(default_factory=list)
    champion: int | None = None
    rolled_back_to: int | None = None
    settled: int = 0
    waiting: int = 0
    seconds: float = 0.0


def rows(played: Played) -> Iterator[str]:
    """A line a batch, and a line a purge."""
    for place, one in enumerate(played.batches):
        last = place == len(played.batches) - 1
        first = f"{played.week:>4}  {played.requests_in:>3}" if place == 0 else " " * 9
        said = [
            f"{first} {played.waiting if last else '':>4}  {one['key']:<25}{one['requests']:>3}{len(one['runs']):>5}  ",
            f"{', '.join(one['killed_in']) or '-':<21}{one['verdict']:<9}{one['rule'] or '-':>4}",
            f"{'-' if one['champion'] is None else one['champion']:>9}{one['seconds']:>5.0f}",
        ]
        yield "".join(said)
    if not played.batches:
        yield f"{played.week:>4}  {played.requests_in:>3} {played.waiting:>4}  no batch"
    for one in played.purges:
        said = f"purged, {one['status']}: {one['removed']} removed, {one['remaining']} left"
        yield f"{'':>14}  {one['key']:<25}{'':>3}{len(one['runs']):>5}  {', '.join(one['killed_in']) or '-':<21}{said}"
    if played.rolled_back_to is not None:
        yield f"{'':>14}  rolled back: version {played.champion} serves version {played.rolled_back_to} again"
