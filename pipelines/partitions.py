"""One partition a batch of deletion requests, never one a request or a person: keys stay in the event log for ever."""

from __future__ import annotations

import dagster as dg

deletion_batch = dg.DynamicPartitionsDefinition(name="deletion_batch")


def open_batch(instance: dg.DagsterInstance, key: str) -> bool:
    """Make the partition `key`; False if it is there already. What a key may be, `Workspace.batch` says."""
    if instance.has_dynamic_partition(str(deletion_batch.name), key):
        return False
    instance.add_dynamic_partitions(str(deletion_batch.name), [key])
    return True
