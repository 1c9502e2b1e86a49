"""A manifest is whole, has every key once, and shares no image with another role."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unlearning.data import index, manifest
from unlearning.errors import ManifestError

ROWS = 40


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """As an index has it: rows by key, every image once."""
    return pa.table(
        {
            "key": [f"toys-{row:06d}" for row in range(ROWS)],
            "dataset": ["toys"] * ROWS,
            "shard": ["train-000000.tar"] * ROWS,
            "offset": [512 * row for row in range(ROWS)],
            "bytes": [100 + row for row in range(ROWS)],
            "sha256": [f"{row:064x}" for row in range(ROWS)],
            "pixel_sha256": [f"{row + 1000:064x}" for row in range(ROWS)],
            "class": ["star" if row % 2 else "circle" for row in range(ROWS)],
            "subject": [f"person-{row % 4}" for row in range(ROWS)],
            "width": [6] * ROWS,
            "height": [5] * ROWS,
            "split": ["holdout" if row % 5 == 0 else "train" for row in range(ROWS)],
        },
        schema=index.COLUMNS,
    )


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
    what = "keys" if shared == "key" else f"images by {shared}"
    with pytest.raises(ManifestError) as caught:
        manifest.refuse_overlap({"holdout": table[:0], "forget": forget, "retain": overlapping})
    assert str(caught.value) == (
        f"forget and retain share 1 {what} (first: 'toys-000002'): an image may have one role only"
    )
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


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ManifestError) as caught:
        call()
    return str(caught.value)


def test_rows_are_written_by_data_set_and_then_by_key(table: pa.Table, tmp_path: Path) -> None:
    both = changed(changed(table[:4], "dataset", 0, "zoo"), "dataset", 2, "zoo")
    manifest.write(tmp_path / "m.parquet", both)
    assert manifest.read(tmp_path / "m.parquet").select(["dataset", "key"]).to_pylist() == [
        {"dataset": "toys", "key": "toys-000001"},
        {"dataset": "toys", "key": "toys-000003"},
        {"dataset": "zoo", "key": "toys-000000"},
        {"dataset": "zoo", "key": "toys-000002"},
    ]


def test_a_manifest_of_requests_has_one_column_more(table: pa.Table, tmp_path: Path) -> None:
    path, asked = tmp_path / "forget.parquet", pa.array([["r1", "r2"]] * ROWS, manifest.REQUESTS.type)
    forget = table.append_column(manifest.REQUESTS, asked)
    manifest.write(path, forget.select(forget.column_names[::-1]))
    assert manifest.read(path).equals(forget)
    assert manifest.read(path).column_names == [*index.COLUMNS.names, "requests"]
    wrong = table.append_column("requests", table["key"])
    assert refused(lambda: manifest.write(path, wrong)) == (
        f"{path}: column 'requests' is string; list<item: string> is right"
    )
    manifest.write(path, table)
    assert manifest.read(path).column_names == index.COLUMNS.names


def test_columns_that_are_not_these_are_told_and_not_at_any_length(table: pa.Table) -> None:
    right, path = ", ".join(index.COLUMNS.names), Path("m.parquet")
    assert refused(lambda: manifest.write(path, table.select(["key", "split"]))) == (
        f"m.parquet: columns are key, split; {right} are right"
    )
    wide = pa.table({"x" * 500: [1]})
    assert refused(lambda: manifest.write(path, wide)) == f"m.parquet: columns are {'x' * 400}; {right} are right"
    odd = table.set_column(9, "width", pa.array([{"y" * 100: 1}] * ROWS))
    told = f"m.parquet: column 'width' is {('struct<' + 'y' * 100)[:80]}; int32 is right"
    assert refused(lambda: manifest.write(path, odd)) == told


def test_an_empty_place_and_a_key_that_stands_twice_are_named(table: pa.Table) -> None:
    path, place = Path("m.parquet"), pa.array([None, *table["class"].to_pylist()[1:]])
    empty = table.set_column(table.column_names.index("class"), index.COLUMNS.field("class").with_nullable(True), place)
    assert refused(lambda: manifest.write(path, empty)) == (
        "m.parquet: column 'class' has empty places; every row must be whole"
    )
    thrice = pa.concat_tables([table[:3], table[1:3], table[2:3]])
    assert refused(lambda: manifest.write(path, thrice)) == (
        "m.parquet: key 'toys-000001' stands there more than once; once is right"
    )
    assert refused(lambda: manifest.write(path, pa.concat_tables([table[:1], table[:1]]))) == (
        "m.parquet: key 'toys-000000' stands there more than once; once is right"
    )


def test_bytes_in_memory_are_parsed_as_a_file_is(table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    assert manifest.parse(pa.BufferReader(sink.getvalue()), "there").equals(table)
    told = refused(lambda: manifest.parse(pa.BufferReader(b"PAR1" + bytes(200) + b"PAR1"), "there"))
    assert told.startswith("there: not a Parquet manifest (")


def _of_bytes(content: bytes) -> pa.Array:
    """A text column whose one text is these bytes, UTF-8 or not."""
    offsets = np.array([0, len(content)], np.int32)
    return pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(content)])


def test_text_that_is_no_text_is_refused(table: pa.Table, tmp_path: Path) -> None:
    path, place = tmp_path / "m.parquet", table.column_names.index("class")
    for content, holds in ((b"star", True), (b"\xff\xfe", False)):
        pq.write_table(table[:1].set_column(place, index.COLUMNS.field("class"), _of_bytes(content)), path)
        if holds:
            assert manifest.read(path)["class"].to_pylist() == ["star"]
        else:
            assert refused(lambda: manifest.read(path)).startswith(f"{path}: not a Parquet manifest (")


def test_a_footer_that_is_too_long_is_not_read(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(table.replace_schema_metadata({"note": "x" * 2**20}), path)
    told = refused(lambda: manifest.read(path))
    assert told.startswith(f"{path}: not a Parquet manifest (")
    assert len(told) <= len(f"{path}: not a Parquet manifest ()") + 120


def test_why_a_file_is_none_is_told_on_one_line_of_some_length(
    table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("first\n  second " + "z" * 200)

    pq.write_table(table, tmp_path / "m.parquet")
    monkeypatch.setattr(manifest.pq, "ParquetFile", broken)
    why = ("first second " + "z" * 200)[:120]
    assert refused(lambda: manifest.read(tmp_path / "m.parquet")) == (
        f"{tmp_path / 'm.parquet'}: not a Parquet manifest ({why})"
    )


def test_one_split_of_a_manifest(table: pa.Table) -> None:
    holdout = [f"toys-{row:06d}" for row in range(0, ROWS, 5)]
    assert manifest.only(table, "holdout")["key"].to_pylist() == holdout
    assert manifest.only(table, "train")["key"].to_pylist() == [
        key for key in table["key"].to_pylist() if key not in holdout
    ]


def test_minus_takes_every_other_set_away(table: pa.Table) -> None:
    rest = manifest.minus(table, table[:5], table[10:12], table[:0])
    assert rest["key"].to_pylist() == [f"toys-{row:06d}" for row in range(ROWS) if row >= 5 and row not in (10, 11)]
    assert manifest.minus(table).equals(table)


def test_of_sets_that_share_images_the_first_two_are_told(table: pa.Table) -> None:
    sets = {"a": table[:10], "b": table[10:20], "c": table[8:20]}
    assert refused(lambda: manifest.refuse_overlap(sets)) == (
        "a and c share 2 keys (first: 'toys-000008'): an image may have one role only"
    )
