"""What a purge says of every place it looked at: begun, under way, ended, and records that add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import purge
from unlearning.evidence.purge import Location, Purged, Scan
from unlearning.workspace import Workspace

ADDS_UP = "does not add up, or is about another batch; restore it"
_SOONER, _LATER = "2027-01-01T00:00:00+00:00", "2027-02-01T00:00:00+00:00"


def place(code: str = "inbox", remaining: int = 0, **fields: Any) -> Location:
    found = Location(code, "delete", 3, 3 - remaining, remaining, None, None, None)
    return replace(found, **fields)


def record(*places: Location, key: str = "b1", status: str = "complete", hits: int = 0) -> Purged:
    times = ("2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00")
    return Purged(key, "toys", status, *times, {"name": "unlearning"}, places, Scan(1, 2, hits))


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return str(caught.value)


def test_where_everything_of_a_purge_lies(tmp_path: Path) -> None:
    batch = Workspace(tmp_path).batch("b1")
    home = tmp_path / "batches" / "b1" / "purge"
    assert purge.folder(batch) == home
    assert purge.file(batch) == home / "purge.json"
    assert purge.kept(batch) == home / "kept"
    assert purge.near(batch) == home / "near.parquet"


def test_a_purge_is_begun_noted_and_ended(tmp_path: Path) -> None:
    batch = Workspace(tmp_path).batch("b1")
    progress = purge.folder(batch) / "progress.json"
    assert (purge.begun(batch), purge.read(batch), purge.under_way(batch)) == (False, None, None)
    purge.refuse_made_again(batch)
    half = record(place(remaining=1))  # its status is not yet what its places say
    purge.note(batch, half)
    assert files.read_json(progress) == {"schema": "purge/1", **asdict(half), "locations": [asdict(place(remaining=1))]}
    assert (purge.begun(batch), purge.read(batch), purge.under_way(batch)) == (True, None, half)
    assert refused(lambda: purge.refuse_made_again(batch)) == (
        "batch b1 is purged: what it was made from is no longer stored, so nothing of it is made again; "
        "file new requests and seal another batch"
    )
    whole = record(place(), place("backups"))
    purge.write(batch, whole)
    assert (purge.begun(batch), purge.read(batch), purge.under_way(batch)) == (True, whole, None)
    assert files.read_json(purge.file(batch))["schema"] == "purge/1"
    assert not progress.exists()
    purge.end(batch)
    assert (whole.at("backups"), whole.at("cache")) == (place("backups"), None)


def test_when_what_remains_goes() -> None:
    told = record(place("a", 1, expires_at=_LATER), place("b", 2, expires_at=_SOONER), place("c", expires_at=_SOONER))
    assert told.expires == (_SOONER, _LATER)


@pytest.mark.parametrize(
    ("places", "hits", "word"),
    [
        ([], 0, "complete"),
        ([place()], 0, "complete"),
        ([place("a", 1, expires_at=_SOONER)], 0, "complete"),
        ([place(), place("a", 1)], 0, "partial"),
        ([place()], 1, "partial"),
        ([place("a", 1)], 1, "partial"),
    ],
)
def test_a_purge_is_complete_where_nothing_remains_without_an_end(
    tmp_path: Path, places: list[Location], hits: int, word: str
) -> None:
    assert purge.status(places, Scan(hits=hits)) == word
    batch = Workspace(tmp_path).batch("b1")
    other = {"complete": "partial", "partial": "complete"}[word]
    purge.write(batch, record(*places, status=word, hits=hits))
    assert purge.read(batch) == record(*places, status=word, hits=hits)
    purge.write(batch, record(*places, status=other, hits=hits))
    assert refused(lambda: purge.read(batch)) == f"{purge.file(batch)}: {ADDS_UP}"
    purge.note(batch, record(*places, status=other, hits=hits))
    assert purge.under_way(batch) == record(*places, status=other, hits=hits)


@pytest.mark.parametrize(
    "wrong",
    [
        place(found=4),
        place(found=2),
        place(found=-1, removed=-1),
        place(found=0, removed=1, remaining=-1),
        place(found=0, removed=-1, remaining=1, expires_at=_SOONER),
        place(found="3"),
        place(method="burn"),
        place(code="In Box"),
        place(code=""),
        place(code="x" * 65),
        place(why="because of it"),
        place(why=""),
    ],
)
def test_a_place_adds_up(tmp_path: Path, wrong: Location) -> None:
    batch = Workspace(tmp_path).batch("b1")
    for places in ([wrong], [place(), wrong], [wrong, place()]):
        purge.write(batch, record(*places))
        assert refused(lambda: purge.read(batch)) == f"{purge.file(batch)}: {ADDS_UP}"
    purge.note(batch, record(wrong))
    assert refused(lambda: purge.under_way(batch)).endswith(f"progress.json: {ADDS_UP}")


@pytest.mark.parametrize(
    "right",
    [
        place(found=0, removed=0),
        place(code="x" * 64),
        place(why="kept_by_law"),
        *(place(method=m) for m in purge._METHODS),
    ],
)
def test_a_place_that_adds_up_is_read_again(tmp_path: Path, right: Location) -> None:
    batch = Workspace(tmp_path).batch("b1")
    purge.write(batch, record(right))
    assert purge.read(batch) == record(right)


def test_a_record_of_another_batch_is_none(tmp_path: Path) -> None:
    batch = Workspace(tmp_path).batch("b1")
    purge.write(batch, record(key="b2"))
    assert refused(lambda: purge.read(batch)) == f"{purge.file(batch)}: {ADDS_UP}"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda tree: tree.update(schema="purge/2"), "'schema'"),
        (lambda tree: tree.pop("schema"), "'schema'"),
        (lambda tree: tree.pop("scan"), "'scan'"),
        (lambda tree: tree.pop("locations"), "'locations'"),
        (lambda tree: tree.pop("model"), "Purged.__init__() missing 1 required positional argument: 'model'"),
        (lambda tree: tree["scan"].update(more=1), "Scan.__init__() got an unexpected keyword argument 'more'"),
        (lambda tree: tree.update({"m" * 99: 1}), f"Purged.__init__() got an unexpected keyword argument '{'m' * 99}"),
    ],
)
def test_what_is_no_record_says_why(tmp_path: Path, change: Callable[[Any], Any], why: str) -> None:
    batch = Workspace(tmp_path).batch("b1")
    purge.write(batch, record(place()))
    tree = files.read_json(purge.file(batch))
    change(tree)
    files.write_json(purge.file(batch), tree)
    assert refused(lambda: purge.read(batch)) == f"{purge.file(batch)}: not a purge/1 record ({why[:80]}); restore it"


@pytest.mark.parametrize("content", [b"{", b"[]", b"7", b"null"])
def test_what_is_no_object_is_no_record(tmp_path: Path, content: bytes) -> None:
    batch = Workspace(tmp_path).batch("b1")
    files.write_bytes(purge.file(batch), content)
    assert refused(lambda: purge.read(batch)).startswith(f"{purge.file(batch)}: not a purge/1 record (")


@pytest.mark.usefixtures("elsewhere")
def test_a_moment_is_told_in_utc_to_the_second() -> None:
    assert purge.stamp(datetime.fromisoformat("2026-03-04T05:06:07.9+01:00")) == "2026-03-04T04:06:07+00:00"
