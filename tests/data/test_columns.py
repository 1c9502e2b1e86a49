"""A table of ours that is read by its columns: gone, damaged or another one, it is a sentence."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unlearning.data import index
from unlearning.errors import DataError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"key": ["a", "b"], "sha256": ["1", "2"]}), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_some_columns_or_all_and_some_rows_or_all(path: Path) -> None:
    assert index.columns(path).to_pylist() == [{"key": "a", "sha256": "1"}, {"key": "b", "sha256": "2"}]
    assert index.columns(path, "sha256").to_pylist() == [{"sha256": "1"}, {"sha256": "2"}]
    assert index.columns(path, "sha256", filters=[("key", "=", "b")]).to_pylist() == [{"sha256": "2"}]


def test_gone_damaged_or_another_it_is_a_sentence(path: Path) -> None:
    with pytest.raises(DataError, match=r"not the table it was \(No match for FieldRef\.Name\(split\)"):
        index.columns(path, "key", "split")
    with pytest.raises(DataError, match="not the table it was"):
        index.columns(path, filters=[("split", "=", "x")])
    content = path.read_bytes()
    for damaged in (b"", content[:-1], content[:-9] + b"\xff" + content[-8:], b"PAR1" + bytes(60)):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.parquet: not the table it was \("):
            index.columns(path, "key")
    path.unlink()
    with pytest.raises(DataError, match="there is no such table"):
        index.columns(path, "key")
