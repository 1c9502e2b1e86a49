"""Keys of batches that a schedule seals: the same tick always gives the same key, so that a tick may come twice."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from unlearning.errors import RequestError

_LINE = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_MOST = 999


def of_tick(line: str, tick: datetime, n: int = 1) -> str:
    """`<line>-20261122t0200z`, the tick in UTC to the minute; the n-th batch of one tick ends in `-<n>`.

    Raises RequestError for a line that is no plain name, a tick without a zone, or an n outside 1..999.
    """
    if not _LINE.fullmatch(line):
        raise RequestError(
            f"line {line[:80]!r} is not a plain name: 1 to 40 of a-z, 0-9, dot, underscore, hyphen are right"
        )
    if tick.tzinfo is None:
        raise RequestError(f"tick {tick.isoformat()} has no zone; a moment in UTC, say, is right")
    if not 1 <= n <= _MOST:
        raise RequestError(f"batch {n} of one tick; 1 to {_MOST} are right")
    key = f"{line}-{tick.astimezone(UTC):%Y%m%dt%H%Mz}"
    return key if n == 1 else f"{key}-{n}"
