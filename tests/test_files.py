"""A file is whole or not there, whoever was killed while writing it, and however many write it at once."""

from __future__ import annotations

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from unlearning import files
from unlearning.errors import StorageError

USUAL = ".report.json.0.00000000.partial"


def test_what_a_killed_writer_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / USUAL).write_bytes(b"half of what somebody wanted to say")
    files.write_bytes(tmp_path / "report.json", b"{}")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"report.json": b"{}"}


def test_a_writer_that_lives_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / USUAL).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b"theirs")
        other.flush()
        files.write_bytes(tmp_path / "report.json", b"ours")
        assert (tmp_path / USUAL).read_bytes() == b"theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == [USUAL, "report.json"]
    assert (tmp_path / "report.json").read_bytes() == b"ours"


def test_a_file_that_was_renamed_before_it_was_locked_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our opening and our locking it, its writer made it the target; or it was removed."""
    target, lock, times = tmp_path / "report.json", fcntl.flock, list[int]()

    def late(file: Any, how: int) -> None:
        times.append(how)
        if len(times) == 1:
            (tmp_path / USUAL).rename(target)
            target.write_bytes(b"theirs")
        elif len(times) == 2:
            (tmp_path / USUAL).unlink()
            (tmp_path / USUAL).touch()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    files.write_bytes(target, b"ours")
    assert len(times) == 3
    assert target.read_bytes() == b"ours"
    assert not (tmp_path / USUAL).exists()


def test_where_there_are_no_locks_every_writer_has_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(file: Any, how: int) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    files.write_bytes(tmp_path / "report.json", b"ours")
    assert (tmp_path / "report.json").read_bytes() == b"ours"


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_what_cannot_be_written_leaves_what_stood_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    files.write_bytes(tmp_path / "report.json", b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync", full) if fails == "fsync" else (Path, "replace", full)))
    with pytest.raises(StorageError, match="the disk is full; what stood there before is untouched"):
        files.write_bytes(tmp_path / "report.json", b"after")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"report.json": b"before"}


def test_many_at_once_leave_one_of_what_they_said_and_nothing_else(tmp_path: Path) -> None:
    said = [bytes([number]) * 5_000 for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: files.write_bytes(tmp_path / "report.json", content), said))
    assert (tmp_path / "report.json").read_bytes() in said
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
