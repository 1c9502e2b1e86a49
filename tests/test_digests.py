"""Hashes against hashlib, and what a folder's listing names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from unlearning import digests
from unlearning.errors import StorageError


def test_bytes_a_file_and_a_value(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    right = hashlib.sha256(b"content").hexdigest()
    assert digests.of_bytes(b"content") == digests.of_file(tmp_path / "file") == right
    assert digests.of_value({"b": 1, "a": [True]}) == hashlib.sha256(b'{"a":[true],"b":1}').hexdigest()
    with pytest.raises(StorageError, match="cannot be written as canonical JSON"):
        digests.of_value(float("nan"))


def test_a_folder_is_its_files_by_name_and_no_link(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "z").write_bytes(b"last")
    (tmp_path / "inner" / "a").write_bytes(b"four")
    (tmp_path / "link").symlink_to(tmp_path / "z")
    found = digests.of_folder(tmp_path)
    assert found == [
        digests.FileDigest("inner/a", hashlib.sha256(b"four").hexdigest(), 4),
        digests.FileDigest("z", hashlib.sha256(b"last").hexdigest(), 4),
    ]
    listed = f'[["inner/a","{found[0].sha256}"],["z","{found[1].sha256}"]]'
    assert digests.of_listing(found) == hashlib.sha256(listed.encode()).hexdigest()
