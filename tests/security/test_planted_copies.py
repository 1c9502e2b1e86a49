"""The scan finds every copy of a forgotten picture, and takes no other for one."""

from __future__ import annotations

from pathlib import Path

from tests.security import planted

COPIES = 1_000


def test_every_planted_copy_is_found_and_no_other(tmp_path: Path) -> None:
    said = planted.campaign(tmp_path, COPIES, seed=7)
    assert (said["found"], said["missed"]) == (COPIES, [])
    assert said["false"] == 0
    assert said["files"] == 2 * COPIES
