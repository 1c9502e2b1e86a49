"""Whose signatures count, and when: the file that a verifier is handed, in its one spelling."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import sealing
from tests.evidence.sealing import spelled
from unlearning.errors import EvidenceError
from unlearning.evidence import trust
from unlearning.evidence.trust import Key
from unlearning.workspace import Workspace

LISTED = sorted((sealing.trusted(name, "pipeline") for name in ("a", "b", "c")), key=lambda one: str(one["keyid"]))
TEXT = spelled({"schema": "trust/1", "keys": LISTED}) + b"\n"
_LENGTH = "at most 1048576 bytes that end in a line feed"


def refused(text: bytes) -> str:
    with pytest.raises(EvidenceError) as caught:
        trust.read(text, "here")
    return str(caught.value)


def test_keys_are_written_in_one_order_and_read_again() -> None:
    made = [Key(**one) for one in LISTED]
    for order in (made, made[::-1], made[1:] + made[:1]):
        assert trust.write(iter(order)) == TEXT
    found = trust.read(TEXT, "here")
    assert found.keys == tuple(made)
    assert [found.find(one.keyid) for one in made] == made
    assert found.find("0" * 64) is None
    assert trust.key_id(sealing.public("a")) == sealing.keyid("a")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda tree: tree.update(schema="trust/2"), "schema: Input should be 'trust/1'"),
        (lambda tree: tree.update(keys=[]), "keys: List should have at least 1 item after validation, not 0"),
        (
            lambda tree: tree["keys"][1].update(role="owner"),
            "keys.1.role: Input should be 'pipeline' or 'privacy_officer'",
        ),
        (
            lambda tree: tree["keys"][0].update(valid_from="2026-01-01"),
            "keys.0.valid_from: Value error, is not YYYY-MM-DDTHH:MM:SS+00:00",
        ),
    ],
)
def test_what_is_not_of_the_form_is_told_where(spoil: Callable[[dict[str, Any]], Any], why: str) -> None:
    tree = json.loads(TEXT)
    spoil(tree)
    assert refused(spelled(tree) + b"\n") == f"here: not a trust/1 file ({why})"


def test_the_file_has_one_spelling() -> None:
    assert refused(b"[]\n") == (
        "here: not a trust/1 file (the whole: Input should be a valid dictionary or instance of _File)"
    )
    for other in (TEXT[:-1], b"", b"x" * trust.MOST_BYTES + b"\n"):
        assert refused(other) == f"here: not a trust/1 file ({_LENGTH})"
    for longest in (b"x" * (trust.MOST_BYTES - 1) + b"\n", b"\n"):
        assert refused(longest) == "here: not a trust/1 file (not JSON without fractions)"
    assert refused(TEXT + b"\n") == "here: not a trust/1 file (not in canonical spelling)"


def test_a_key_stands_once_under_the_hash_of_its_bytes() -> None:
    for keys in (LISTED[::-1], [LISTED[0], LISTED[0]]):
        told = "here: not a trust/1 file (its keys are not sorted by id, each once)"
        assert refused(spelled({"schema": "trust/1", "keys": keys}) + b"\n") == told
    other = {**LISTED[2], "keyid": "f" * 64}
    assert refused(spelled({"schema": "trust/1", "keys": [*LISTED[:2], other]}) + b"\n") == (
        "here: not a trust/1 file (key ffffffffffff is not the hash of its public bytes)"
    )


def test_a_file_is_read_where_it_lies_or_said_to_be_missing(tmp_path: Path) -> None:
    path = trust.file(Workspace(tmp_path))
    assert path == tmp_path / "trust.json"
    with pytest.raises(EvidenceError) as caught:
        trust.load(path)
    assert str(caught.value) == f"{path}: there is no trust file to read; `unlearning keys export` writes one"
    path.write_bytes(TEXT)
    assert trust.load(path) == trust.read(TEXT, "here")
    path.write_bytes(b"")
    with pytest.raises(EvidenceError) as caught:
        trust.load(path)
    assert str(caught.value) == f"{path}: not a trust/1 file ({_LENGTH})"


_JANUARY, _MARCH, _MAY, _JULY = (f"2026-0{month}-01T00:00:00+00:00" for month in (1, 3, 5, 7))


@pytest.mark.parametrize(
    ("until", "revoked", "moment", "good"),
    [
        (None, None, _MARCH, True),
        (None, None, _JULY, True),
        (None, None, _JANUARY, False),
        (_JULY, None, _MAY, True),
        (_MAY, None, _MAY, False),
        (_MAY, None, _JULY, False),
        (None, _MAY, _MARCH, True),
        (None, _MAY, _MAY, False),
        (_JULY, _MAY, _MAY, False),
        (_MAY, _JULY, _MAY, False),
        (_JULY, _JULY, _MAY, True),
    ],
)
def test_a_key_is_good_from_its_beginning_to_its_first_end(
    until: str | None, revoked: str | None, moment: str, good: bool
) -> None:
    key = Key(**{**LISTED[0], "valid_from": _MARCH, "valid_until": until, "revoked_from": revoked})
    assert key.good_at(moment) is good
