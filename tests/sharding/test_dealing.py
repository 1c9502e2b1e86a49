"""Where an image goes is a function of its own name: whatever else comes or goes, it stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearning.data import index, sharding
from unlearning.data.sharding import Dealt, Rule
from unlearning.errors import CheckpointError, DataError, ManifestError
from unlearning.verbs._exact import expected_share_touched

RULES = st.builds(
    Rule,
    shards=st.integers(2, 5),
    slices=st.integers(1, 4),
    by=st.sampled_from(["subject", "image", "class"]),
    seed=st.integers(0, 2**62),
)
# (key, subject, class, pixels): few enough of each that they are shared
ROWS = st.lists(
    st.tuples(st.integers(0, 99), *(st.integers(0, 4) for _ in range(3))),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[0],
)


def table(rows: list[tuple[int, int, int, int]]) -> pa.Table:
    """An index of the rows; number 0 of subjects and classes is none."""

    def row(key: int, subject: int, name: int, pixels: int) -> dict[str, Any]:
        named = {"subject": f"s{subject}" if subject else "", "class": f"c{name}" if name else ""}
        place = {"shard": "train-000000.tar", "offset": 0, "bytes": 1, "width": 1, "height": 1, "split": "train"}
        hashes = {"sha256": f"file {key}", "pixel_sha256": f"pixels {pixels}"}
        return {"key": f"k{key:02d}", "dataset": "toys", **named, **place, **hashes}

    return pa.Table.from_pylist([row(*each) for each in rows], schema=index.COLUMNS)


def places(rule: Rule, given: pa.Table) -> dict[str, tuple[int, int]]:
    return dict(zip(given["key"].to_pylist(), map(rule.place, rule.groups(given)), strict=True))


@settings(deadline=None, max_examples=100, derandomize=True)
@given(rule=RULES, rows=ROWS, kept=st.data())
def test_removing_rows_moves_no_other(rule: Rule, rows: list[Any], kept: st.DataObject) -> None:
    left = kept.draw(st.lists(st.sampled_from(rows), unique=True))
    before, after = places(rule, table(rows)), places(rule, table(left))
    assert after.items() <= before.items()
    assert all(0 <= shard < rule.shards and 0 <= slice_ < rule.slices for shard, slice_ in before.values())


@settings(deadline=None, max_examples=100, derandomize=True)
@given(rule=RULES, rows=ROWS)
def test_one_subject_or_one_picture_is_in_one_slice_of_one_shard(rule: Rule, rows: list[Any]) -> None:
    given_ = table(rows)
    at = places(rule, given_)
    named = [""] * len(given_) if rule.by == "image" else given_[rule.by].to_pylist()
    pixels = given_["pixel_sha256"].to_pylist()
    of: dict[str, set[tuple[int, int]]] = {}
    for key, name, picture in zip(given_["key"].to_pylist(), named, pixels, strict=True):
        of.setdefault(name or picture, set()).add(at[key])
    assert all(len(found) == 1 for found in of.values())


def test_a_seed_deals_anew_and_shards_come_out_alike() -> None:
    """Of 4,000 groups each of 8 places has 500 on average, give or take 21; six of those is 126."""
    rule, other = Rule(4, 2, "image", 0), Rule(4, 2, "image", 1)
    names = [f"pixels {number}" for number in range(4_000)]
    counts = np.zeros((4, 2))
    for name in names:
        counts[rule.place(name)] += 1
    assert abs(counts - 500).max() < 126
    assert sum(rule.place(name) != other.place(name) for name in names) > 3_000


@pytest.mark.parametrize(("shards", "requests"), [(2, 1), (4, 3), (8, 5), (10, 10)])
def test_requests_touch_the_share_of_shards_that_the_formula_says(shards: int, requests: int) -> None:
    """1 - (1 - 1/S)^K over 4,000 draws of K groups: the standard error of the mean is below 0.008."""
    rule = Rule(shards, 1, "subject", 0)
    shares = [
        len({rule.place(f"subject {draw}-{number}")[0] for number in range(requests)}) / shards for draw in range(4_000)
    ]
    assert np.mean(shares) == pytest.approx(expected_share_touched(shards, requests), abs=0.03)


def test_a_shard_or_a_slice_without_an_image_is_refused() -> None:
    one = table([(number, 1, 0, number) for number in range(9)])
    with pytest.raises(
        ManifestError, match=r"generator\.shards: 8 leaves shard \d without an image, of 9 images by su"
    ):
        sharding.deal(one, Rule(8, 1, "subject", 0))
    many = table([(number, 0, 0, number) for number in range(6)])
    with pytest.raises(ManifestError, match=r"generator\.slices: 9 leaves slice \d of shard \d without an image"):
        sharding.deal(many, Rule(2, 9, "image", 0))


def _dealt() -> tuple[pa.Table, Dealt]:
    rows = table([(number, number % 5, 0, number) for number in range(20)])
    return rows, sharding.deal(rows, Rule(2, 2, "image", 0))


def test_the_table_comes_back_as_it_was_written_whatever_the_order_of_the_index(tmp_path: Path) -> None:
    rows, dealt = _dealt()
    dealt.write(tmp_path / "shards.parquet")
    content = (tmp_path / "shards.parquet").read_bytes()
    back = sharding.read(tmp_path / "shards.parquet", rows.take(list(reversed(range(len(rows))))))
    back.write(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == content
    assert back.content(2) == dealt.content(2)
    assert b"s3" not in content, "no person is named"


def test_a_member_reads_its_slices_in_turn() -> None:
    _, dealt = _dealt()
    mine = dealt.member(1)
    ends = mine.up_to(2).tolist()
    assert ends[-1] == len(mine) == (dealt.shard == 1).sum()
    assert (mine.slice[: ends[0]] == 0).all()
    assert (mine.slice[ends[0] :] == 1).all()


def test_images_that_are_gone_from_the_data_set_are_named(tmp_path: Path) -> None:
    rows, dealt = _dealt()
    dealt.write(tmp_path / "shards.parquet")
    with pytest.raises(DataError, match=r"trained on 2 images that the data set no longer has \(first: 'k"):
        sharding.read(tmp_path / "shards.parquet", rows.slice(2))
    (tmp_path / "shards.parquet").write_bytes(b"no table")
    with pytest.raises(CheckpointError, match="not a table of shards"):
        sharding.read(tmp_path / "shards.parquet", rows)
