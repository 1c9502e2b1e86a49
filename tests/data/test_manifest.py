"""A manifest is whole, has every key once, and shares no image with another role."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.toy_batch import toy_workspace
from unlearning.data import index, manifest
from unlearning.errors import ManifestError


@pytest.fixture
def table(tmp_path: Path) -> pa.Table:
    return index.read(toy_workspace(tmp_path).dataset("toys"))


def changed(table: pa.Table, column: str, row: int, value: str) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    place = table.column_names.index(column)
    return table.set_column(place, index.COLUMNS.field(column), pa.array(values))


def test_the_same_rows_in_any_order_are_the_same_bytes(table: pa.Table, tmp_path: Path) -> None:
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    for name, rows in (("a", table), ("b", shuffled), ("c", pa.concat_tables([shuffled[:7], shuffled[7:]]))):
        manifest.write(tmp_path / f"{name}.parquet", rows)
    assert len({(tmp_path / f"{name}.parquet").read_bytes() for name in "abc"}) == 1
    assert manifest.read(tmp_path / "a.parquet").sort_by("key").equals(table.sort_by("key"))


def test_a_manifest_that_is_none_is_refused(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    with pytest.raises(ManifestError, match="there is no such manifest"):
        manifest.read(path)
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(ManifestError, match="not a Parquet manifest"):
        manifest.read(path)
    for wrong, said in (
        (table.drop_columns(["sha256"]), "columns are key"),
        (table.append_column("extra", table["key"]), "columns are key"),
        (table.set_column(3, "offset", table["key"]), "column 'offset' is string; int64 is right"),
        (table.set_column(5, "sha256", pa.nulls(len(table), pa.string())), "column 'sha256' has empty places"),
        (changed(table, "key", 3, table["key"][8].as_py()), "more than once"),
    ):
        pq.write_table(wrong, path)
        with pytest.raises(ManifestError, match=said):
            manifest.read(path)
        with pytest.raises(ManifestError, match=said):
            manifest.write(tmp_path / "other.parquet", wrong)
    assert not (tmp_path / "other.parquet").exists()


def test_a_key_that_stands_twice_is_named(table: pa.Table, tmp_path: Path) -> None:
    twice = changed(table, "key", 3, "toys-000009")
    with pytest.raises(ManifestError, match="key 'toys-000009' stands there more than once"):
        manifest.write(tmp_path / "m.parquet", twice)


@pytest.mark.parametrize("shared", ["key", "sha256", "pixel_sha256"])
def test_sets_that_share_an_image_are_refused_and_minus_parts_them(table: pa.Table, shared: str) -> None:
    forget, retain = table[:10], table[10:]
    manifest.refuse_overlap({"forget": forget, "retain": retain})
    overlapping = changed(retain, shared, 4, forget[shared][2].as_py())
    with pytest.raises(ManifestError, match="forget and retain share 1 "):
        manifest.refuse_overlap({"holdout": table[:0], "forget": forget, "retain": overlapping})
    parted = manifest.minus(overlapping, forget)
    assert len(parted) == len(retain) - 1
    manifest.refuse_overlap({"forget": forget, "retain": parted})


def test_one_key_in_two_data_sets_is_two_images(table: pa.Table) -> None:
    other = table
    for column, value in (("dataset", "copies"), ("sha256", "x"), ("pixel_sha256", "y")):
        place = other.column_names.index(column)
        values = pa.array([f"{value}{n}" for n in range(len(other))])
        other = other.set_column(place, index.COLUMNS.field(column), values)
    manifest.refuse_overlap({"forget": table, "retain": other})
    assert len(manifest.minus(other, table)) == len(other)


def test_both_together_hold_each_image_once(table: pa.Table) -> None:
    both = manifest.together(table.slice(0, 5), table.slice(3, 4))
    assert both["key"].to_pylist() == table["key"].to_pylist()[:7]
