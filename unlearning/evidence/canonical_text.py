"""RFC 8785 JSON narrowed until every value has one spelling that any language writes alike.

Objects, arrays, strings, true, false, null, and integers below 2^53 in size. No fraction: a decimal is a string. ASCII
keys. At most 32 levels. (infra/decisions/certificate-spec.md, section 1)
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from typing import Any

from unlearning.errors import EvidenceError

DEEPEST = 32
LARGEST = 2**53  # an integer is smaller in size: a reader that knows only doubles must not lose a digit
_TIME = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d\+00:00", re.ASCII)


def write(value: Any) -> bytes:
    """The one spelling of a value. Raises EvidenceError for a value that has none."""
    if not _narrow(value, DEEPEST):
        raise EvidenceError(
            "a statement holds a fraction, an integer of 2^53 or more, a key that is not ASCII, or more than "
            f"{DEEPEST} levels; a decimal is written as a string"
        )
    try:
        return _spelled(value)
    except UnicodeEncodeError:
        raise EvidenceError("a statement holds half a surrogate pair; text that is Unicode is right") from None


def read(text: bytes) -> Any:
    """The value of a text in its one spelling. Raises ValueError, in words, for any other text."""
    try:
        value = json.loads(text.decode(), parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError):  # also: not UTF-8, too many digits
        raise ValueError("not JSON without fractions") from None
    if not _narrow(value, DEEPEST):
        raise ValueError(f"an integer of 2^53 or more, a key that is not ASCII, or more than {DEEPEST} levels")
    try:
        again = _spelled(value)
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair") from None
    if again != text:
        raise ValueError("not in canonical spelling")
    return value


def from_base64(text: str) -> bytes:
    """The bytes of a padded base64 text in its one spelling. Raises ValueError for any other."""
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if base64.b64encode(found).decode() != text:
        raise ValueError("not in the canonical spelling of base64")
    return found


def is_time(text: str) -> bool:
    """Whether it is `YYYY-MM-DDTHH:MM:SS+00:00` and a real moment."""
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def as_time(moment: str | datetime) -> str:
    """An RFC 3339 time in that spelling, its fraction of a second dropped. Raises EvidenceError for no time."""
    try:
        found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        if found.tzinfo is None:  # it would be read in the zone of whoever reads it
            raise ValueError
        return found.astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        raise EvidenceError(f"{str(moment)[:40]!r} is not an RFC 3339 time with a zone") from None


def _spelled(value: Any) -> bytes:
    # Python escapes what RFC 8785 escapes, and sorts ASCII keys as it does.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _narrow(value: Any, levels: int) -> bool:
    if isinstance(value, str | bool) or value is None:
        return True
    if isinstance(value, int):
        return abs(value) < LARGEST
    if levels == 0:
        return False
    if isinstance(value, dict):
        return all(isinstance(key, str) and key.isascii() and _narrow(one, levels - 1) for key, one in value.items())
    return isinstance(value, list | tuple) and all(_narrow(one, levels - 1) for one in value)


def _refuse(text: str) -> Any:
    raise ValueError
