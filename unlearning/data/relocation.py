"""Where the rows of an older manifest lie today. A purge writes shards anew, so `shard` and `offset` go out of date.

Rows are found again by data set and key; what they are is said by their sha256, which never changes. No torch.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from unlearning.data import index
from unlearning.errors import DataError
from unlearning.workspace import Workspace

PLACE = ("shard", "offset", "bytes")


def stored(table: pa.Table, workspace: Workspace) -> pa.Table:
    """The rows that are stored, with the place they have today; the same table where no data set was ever purged.

    Raises DataError for a row whose key is another image's today.
    """
    names = pc.unique(table["dataset"]).to_pylist()
    if not any("purged" in index.describe(workspace.dataset(name)) for name in names):
        return table  # every row lies where its manifest says
    return found(table, workspace)


def found(table: pa.Table, workspace: Workspace) -> pa.Table:
    """The rows that are stored under that root, in their order, each with today's place. Raises DataError."""
    names = pc.unique(table["dataset"]).to_pylist()
    today = pa.concat_tables([index.read(workspace.dataset(name)) for name in names])
    places = pc.index_in(index.named(table), value_set=index.named(today))
    here = pc.is_valid(places)
    table, rows = table.filter(here), today.take(places.filter(here))
    if not rows["sha256"].equals(table["sha256"]):
        raise DataError(
            f"data set {names[0]!r}: an image of a manifest is stored under its key with other bytes today, for the "
            "data set was ingested anew; resolve the batch again"
        )
    for name in PLACE:
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), rows[name])
    return table
