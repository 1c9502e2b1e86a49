"""Parquet manifests: rows of an index that play one role (forget, retain, holdout). No torch."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unlearning.data import index
from unlearning.errors import ManifestError

REQUESTS = pa.field("requests", pa.list_(pa.string()))  # forget.parquet only: which requests cover the row
_FEW = 100_000  # rows below which threads cost more than they bring
IDENTITIES = ("sha256", "pixel_sha256")  # two rows that share one are the same image, whatever their keys


def read(path: Path) -> pa.Table:
    """The rows, validated. Raises ManifestError naming what is missing, of another type, or there twice."""
    if not path.is_file():
        raise ManifestError(f"{path}: there is no such manifest")
    return parse(path, str(path))


def parse(source: Path | pa.NativeFile, where: str) -> pa.Table:
    """`read`, of a file or of bytes that lie in memory. Its columns are judged before a page of them is decoded."""
    try:
        file = pq.ParquetFile(source, **index.FOOTER)
        _columns(file.schema_arrow, where)
        table = file.read(use_threads=file.metadata.num_rows > _FEW)
        table.validate(full=True)  # text that is not UTF-8 would break whoever looks at it
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise ManifestError(f"{where}: not a Parquet manifest ({' '.join(str(error).split())[:120]})") from None
    return _validated(table, where)


def write(path: Path, table: pa.Table) -> None:
    """Replace the manifest, rows by data set and key: the same set gives the same bytes. Raises ManifestError."""
    index.write(path, _validated(table, str(path)).sort_by([("dataset", "ascending"), ("key", "ascending")]))


def minus(table: pa.Table, *others: pa.Table) -> pa.Table:
    """The rows of `table` that share no key, no stored bytes and no pixels with any row of `others`."""
    for other in others:
        same = pc.is_in(index.named(table), index.named(other))
        for name in IDENTITIES:
            same = pc.or_(same, pc.is_in(table[name], _values(other, name)))
        table = table.filter(pc.invert(same))
    return table


def together(table: pa.Table, other: pa.Table) -> pa.Table:
    """The rows of both, each image once."""
    return pa.concat_tables([table, minus(other, table)])


def only(table: pa.Table, split: str) -> pa.Table:
    """The rows of one split, `train` or `holdout`."""
    return table.filter(pc.equal(table["split"], split))


def refuse_overlap(sets: Mapping[str, pa.Table]) -> None:
    """Raise ManifestError naming the first two sets that share a key, stored bytes or pixels."""
    for (one, first), (two, second) in combinations(sets.items(), 2):
        shared = first.filter(pc.is_in(index.named(first), index.named(second)))
        if len(shared):
            raise ManifestError(_overlap(one, two, len(shared), "keys", shared["key"][0].as_py()))
        for name in IDENTITIES:
            shared = first.filter(pc.is_in(first[name], _values(second, name)))
            if len(shared):
                raise ManifestError(_overlap(one, two, len(shared), f"images by {name}", shared["key"][0].as_py()))


def _overlap(one: str, two: str, count: int, what: str, key: str) -> str:
    return f"{one} and {two} share {count} {what} (first: {key!r}): an image may have one role only"


def _validated(table: pa.Table, where: str) -> pa.Table:
    table = table.select(_columns(table.schema, where))
    empty = next((name for name in table.column_names if table[name].null_count), None)
    if empty is not None:
        raise ManifestError(f"{where}: column {empty!r} has empty places; every row must be whole")
    keys = index.named(table)
    if len(pc.unique(keys)) != len(table):
        counted = pc.value_counts(keys).filter(pc.greater(pc.value_counts(keys).field("counts"), 1))
        first = str(counted[0]["values"]).split("\n")[-1]
        raise ManifestError(f"{where}: key {first!r} stands there more than once; once is right")
    return table.combine_chunks()


def _columns(schema: pa.Schema, where: str) -> list[str]:
    """The names of a manifest's columns in their order, after those of `schema` were found to be these."""
    wanted = index.COLUMNS.append(REQUESTS) if "requests" in schema.names else index.COLUMNS
    if sorted(schema.names) != sorted(wanted.names):
        raise ManifestError(
            f"{where}: columns are {', '.join(schema.names)[:400]}; {', '.join(wanted.names)} are right"
        )
    for field in wanted:
        found = schema.field(field.name).type
        if found != field.type:
            raise ManifestError(f"{where}: column {field.name!r} is {str(found)[:80]}; {field.type} is right")
    return list(wanted.names)


def _values(table: pa.Table, name: str) -> pa.Array:
    return pc.unique(table[name])
