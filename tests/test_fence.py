"""Whoever was overtaken writes no more, whatever became of the file that says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unlearning.errors import StorageError
from unlearning.fence import Fence


def test_the_later_attempt_writes_and_the_earlier_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "attempt.json"
    first = Fence.take(path)
    first.hold("the ledger")
    second = Fence.take(path)
    second.hold("the ledger")
    assert (first.path, first.generation, second.generation) == (path, 1, 2)
    assert json.loads(path.read_bytes()) == {"generation": 2, "token": second.token}
    with pytest.raises(
        StorageError, match=r"^the ledger: attempt 1 was overtaken by a later one while it was stopped, "
    ):
        first.hold("the ledger")


@pytest.mark.parametrize("damage", [None, b"", b"[]", b"{", b'{"generation":"7"}', b'{"token":7}'])
def test_nobody_holds_what_is_lost_or_damaged_and_the_same_number_is_no_right(
    tmp_path: Path, damage: bytes | None
) -> None:
    path = tmp_path / "attempt.json"
    first = Fence.take(path)
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(StorageError, match="overtaken"):
        first.hold("the ledger")
    again = Fence.take(path)
    assert again.generation == first.generation == 1
    again.hold("the ledger")
    with pytest.raises(StorageError, match="overtaken"):
        first.hold("the ledger")


def test_what_a_killed_attempt_left_is_swept(tmp_path: Path) -> None:
    left = tmp_path / ".attempt.json.123.0123abcd.partial"
    left.write_bytes(b"half")
    Fence.take(tmp_path / "attempt.json")
    assert [path.name for path in tmp_path.iterdir()] == ["attempt.json"]
