"""Which materialization of an input a batch really used.

Dagster's own `dagster/input_event_pointer/…` tags name the latest event over all partitions: with dynamic partitions
that is another batch's. So events are read by partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dagster as dg


@dataclass(frozen=True, slots=True)
class Materialized:
    """The newest event of one asset in one partition."""

    storage_id: int
    run_id: str
    data_version: str | None  # "sha256:…"
    timestamp: float


def upstream(
    instance: dg.DagsterInstance, batch: str, assets: Iterable[str], prefix: Sequence[str] = ()
) -> dict[str, Materialized]:
    """The newest event of each asset for `batch`, by its bare name; what has no event is left out.

    prefix  of the line's asset keys. `image_dataset` has no partitions.
    """
    found = {}
    for name in assets:
        key = dg.AssetKey([*prefix, name])
        where = dg.AssetRecordsFilter(asset_key=key, asset_partitions=None if name == "image_dataset" else [batch])
        records = instance.fetch_materializations(where, limit=1).records
        if records:
            found[name] = _read(records[0])
    return found


def _read(record: dg.EventLogRecord) -> Materialized:
    event = record.asset_materialization
    tags = event.tags or {} if event is not None else {}
    return Materialized(record.storage_id, record.run_id, tags.get("dagster/data_version"), record.timestamp)
