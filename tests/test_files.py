"""A file is whole or not there, whoever was killed while writing it, and however many write it at once."""

from __future__ import annotations

import fcntl
import os
import re
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


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "asset"
    with files.new_folder(target) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a").write_bytes(b"first")
        assert not target.exists()
    assert (target / "inner" / "a").read_bytes() == b"first"

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(StorageError, match="the disk is full"), files.new_folder(target) as folder:
            (folder / "b").write_bytes(b"second")
    assert [path.name for path in target.iterdir()] == ["inner"]
    with files.new_folder(target) as folder:
        (folder / "b").write_bytes(b"second")
    assert [path.name for path in target.iterdir()] == ["b"]
    assert list((tmp_path / ".partial").iterdir()) == []


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    target, home = tmp_path / "asset", tmp_path / ".partial"
    target.mkdir()
    kept = [home / "asset-7-0123abcd", home / "other-7-0123abcd", tmp_path / "asset-7-0123abcd", home / "asset-7-xyz"]
    left = [home / "asset-8-0123abcd", home / "asset-8-0123abcd-old"]
    for folder in (*kept, *left):
        folder.mkdir(parents=True)
        (folder / "a").write_bytes(b"a picture")
    half = tmp_path / ".asset.7.0123abcd.partial"
    half.write_bytes(b"half")
    (tmp_path / ".asset.7.0123abcd.partial.txt").write_bytes(b"somebody's")
    files.sweep(target, but=kept[0])
    assert [folder.is_dir() for folder in (*kept, *left)] == [True] * 4 + [False] * 2
    assert not half.exists()
    assert (tmp_path / ".asset.7.0123abcd.partial.txt").exists()
    files.sweep(tmp_path / "nowhere" / "asset")


def test_the_same_bytes_under_a_second_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"bytes")
    files.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")

    def none(*args: Any) -> None:
        raise OSError(1, "no hard links here")

    monkeypatch.setattr("os.link", none)
    files.link_or_copy(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"bytes"
    assert not (tmp_path / "a").samefile(tmp_path / "c")


def test_a_write_that_is_refused_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for number in files.FULL:
        assert str(files.refused(OSError(number, "x"), path)) == (
            f"{path}: the disk is full; what stood there before is untouched, free space and run again"
        )
    untouched = "; what stood there before is untouched"
    assert str(files.refused(OSError(13, "Permission denied"), path)) == (
        f"{path}: cannot be written (Permission denied){untouched}"
    )
    assert str(files.refused(OSError("why"), path)) == f"{path}: cannot be written (why){untouched}"


def test_what_has_no_canonical_spelling_is_not_written(tmp_path: Path) -> None:
    files.write_json(tmp_path / "file", {"b": 1, "a": 2})
    for value in (float("nan"), 2**53):
        with pytest.raises(StorageError, match=r"^a record cannot be written as canonical JSON: "):
            files.write_json(tmp_path / "file", value)
    assert (tmp_path / "file").read_bytes() == b'{"a":2,"b":1}\n'
    assert files.read_json(tmp_path / "file") == {"a": 2, "b": 1}
    with pytest.raises(StorageError, match=r"none: there is no such file$"):
        files.read_json(tmp_path / "none")
    with pytest.raises(StorageError, match=r"^here: not JSON"):
        files.parse_json(b"{", "here")


def test_one_holds_a_lock_and_another_is_told(tmp_path: Path) -> None:
    path = tmp_path / "inner" / ".lock"
    told = r"^the thing is being made by another process now; wait for it, or stop it$"
    with files.locked(path, "the thing"), pytest.raises(StorageError, match=told), files.locked(path, "the thing"):
        raise AssertionError("two hold it")
    with files.locked(path, "the thing", wait=True):
        assert path.exists()


def test_a_file_makes_the_folders_above_it(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a" / "b" / "c", b"bytes")
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"bytes"
    with files.locked(tmp_path / "x" / "y" / ".lock", "the thing"), files.new_folder(tmp_path / "u" / "v" / "w"):
        pass
    assert (tmp_path / "u" / "v" / "w").is_dir()


def test_a_write_that_failed_says_where_and_is_not_made_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody swept what was half written: the first error counts, not that it is gone."""

    def swept(partial: Path, target: Path) -> None:
        partial.unlink()
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", swept)
    with pytest.raises(StorageError) as refused:
        files.write_bytes(tmp_path / "file", b"bytes")
    assert str(refused.value) == (
        f"{tmp_path / 'file'}: cannot be written (Permission denied); what stood there before is untouched"
    )


def test_a_folder_that_failed_says_where(tmp_path: Path) -> None:
    target = tmp_path / "asset"
    with pytest.raises(StorageError) as refused, files.new_folder(target):
        raise OSError(13, "Permission denied")
    assert str(refused.value) == (
        f"{target}: cannot be written (Permission denied); what stood there before is untouched"
    )


def test_a_file_of_its_own_is_named_after_its_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `sweep` knows it again."""
    seen = list[str]()

    def replace(partial: Path, target: Path) -> None:
        seen.append(partial.name)
        raise OSError(13, "Permission denied")

    def none(file: Any, how: int) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(StorageError):
        files.write_bytes(tmp_path / "report.json", b"ours")
    (name,) = seen
    assert re.fullmatch(rf"\.report\.json\.{os.getpid()}\.[0-9a-f]{{8}}\.partial", name)
    (tmp_path / name).write_bytes(b"half")
    files.sweep(tmp_path / "report.json")
    assert not (tmp_path / name).exists()


def test_what_is_swept_meanwhile_by_another_is_gone_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".asset.7.0123abcd.partial").write_bytes(b"half")
    folder, link = tmp_path / ".partial" / "asset-7-0123abcd", tmp_path / ".partial" / "asset-8-0123abcd"
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    link.symlink_to(tmp_path / "elsewhere")  # which rmtree refuses
    unlink = Path.unlink

    def raced(path: Path, missing_ok: bool = False) -> None:
        unlink(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", raced)
    files.sweep(tmp_path / "asset")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".partial", "elsewhere"]
    assert not folder.exists()


def test_what_is_no_json_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"{")
    with pytest.raises(StorageError) as refused:
        files.read_json(tmp_path / "file")
    assert str(refused.value).startswith(f"{tmp_path / 'file'}: not JSON")


def test_only_a_folder_is_synced_as_one(tmp_path: Path) -> None:
    files.sync_folder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.sync_folder(tmp_path / "file")
