"""One spelling of every value, base64 text and time; every other is refused."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from unlearning.errors import EvidenceError
from unlearning.evidence import canonical_text

LARGEST = 2**53 - 1


def nested(levels: int, inner: Any = 1, key: str | None = None) -> Any:
    for _ in range(levels):
        inner = [inner] if key is None else {key: inner}
    return inner


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": [True, False, None], "a": -1}, b'{"a":-1,"b":[true,false,null]}'),
        ("é\n", '"é\\n"'.encode()),
        ([LARGEST, -LARGEST], b"[9007199254740991,-9007199254740991]"),
        (nested(32), b"[" * 32 + b"1" + b"]" * 32),
        (nested(32, key="a"), b'{"a":' * 32 + b"1" + b"}" * 32),
        ([], b"[]"),
    ],
)
def test_a_value_is_written_and_read_back(value: Any, text: bytes) -> None:
    assert canonical_text.write(value) == text
    assert canonical_text.read(text) == value


def test_a_tuple_is_written_as_a_list() -> None:
    assert canonical_text.write({"a": (1, 2)}) == b'{"a":[1,2]}'


@pytest.mark.parametrize(
    "value", [0.5, 2**53, -(2**53), {"é": 1}, {1: 2}, nested(33), nested(33, key="a"), [{"a": 0.5}], b"bytes", [{1}]]
)
def test_a_value_without_a_spelling_is_refused(value: Any) -> None:
    with pytest.raises(EvidenceError) as caught:
        canonical_text.write(value)
    assert str(caught.value) == (
        "a statement holds a fraction, an integer of 2^53 or more, a key that is not ASCII, or more than 32 levels; a "
        "decimal is written as a string"
    )


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(EvidenceError) as caught:
        canonical_text.write(["\ud800"])
    assert str(caught.value) == "a statement holds half a surrogate pair; text that is Unicode is right"
    with pytest.raises(ValueError, match=r"^half a surrogate pair$"):
        canonical_text.read(b'"\\ud800"')


NARROW = r"^an integer of 2\^53 or more, a key that is not ASCII, or more than 32 levels$"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "^not JSON without fractions$"),
        (b"\xff", "^not JSON without fractions$"),
        (b"1.5", "^not JSON without fractions$"),
        (b"1e5", "^not JSON without fractions$"),
        (b"NaN", "^not JSON without fractions$"),
        (b"1" * 5000, "^not JSON without fractions$"),
        (b"[" * 100_000, "^not JSON without fractions$"),
        (b"9007199254740992", NARROW),
        (b"-9007199254740992", NARROW),
        ('{"é":1}'.encode(), NARROW),
        (b"[" * 33 + b"]" * 33, NARROW),
        (b" 1", "^not in canonical spelling$"),
        (b"1\n", "^not in canonical spelling$"),
        (b'{"b":1,"a":1}', "^not in canonical spelling$"),
        (b'{"a":1,"a":1}', "^not in canonical spelling$"),
        (b'"\\u0041"', "^not in canonical spelling$"),
        (b"-0", "^not in canonical spelling$"),
    ],
)
def test_any_other_text_is_refused_in_words(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        canonical_text.read(text)


def test_base64_has_one_spelling() -> None:
    assert canonical_text.from_base64("AAE=") == b"\x00\x01"
    assert canonical_text.from_base64("") == b""
    for wrong in ("AAE", "AAE=\n", "AA_=", "é", "A"):
        with pytest.raises(ValueError, match=r"^(not base64|string argument should contain only ASCII characters)$"):
            canonical_text.from_base64(wrong)
    with pytest.raises(ValueError, match=r"^not in the canonical spelling of base64$"):
        canonical_text.from_base64("AAF=")


@pytest.mark.parametrize(
    "text", ["2026-11-01T09:30:00+00:00", "0001-01-01T00:00:00+00:00", "2024-02-29T23:59:59+00:00"]
)
def test_a_time(text: str) -> None:
    assert canonical_text.is_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-01T09:30:00Z",
        "2026-11-01T09:30:00+01:00",
        "2026-11-01T09:30:00.5+00:00",
        "2026-11-01T24:00:00+00:00",
        "2026-11-01T09:30:60+00:00",
        "2026-02-29T09:30:00+00:00",
        "0000-01-01T00:00:00+00:00",
        "2026-11-01T09:30:00+00:00\n",
        "２026-11-01T09:30:00+00:00",
        "",
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert not canonical_text.is_time(text)


def test_a_moment_is_spelled_in_utc_to_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    there = datetime(2026, 11, 1, 10, 30, 0, 900_000, tzinfo=timezone(timedelta(hours=1)))
    assert canonical_text.as_time(there) == "2026-11-01T09:30:00+00:00"
    assert canonical_text.as_time("2026-11-01T09:30:00.9Z") == "2026-11-01T09:30:00+00:00"
    earliest = datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))
    for wrong in ("yesterday", earliest, "2026-11-01T09:30:00", "2026-11-01", datetime(2026, 11, 1)):
        with pytest.raises(EvidenceError, match=r" is not an RFC 3339 time with a zone$"):
            canonical_text.as_time(wrong)
    with pytest.raises(EvidenceError) as caught:
        canonical_text.as_time("x" * 50)
    assert str(caught.value) == f"{'x' * 40!r} is not an RFC 3339 time with a zone"
    monkeypatch.undo()
    time.tzset()
