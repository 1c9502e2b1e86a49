"""One job: everything a batch needs, from its requests to its promotion."""

from __future__ import annotations

import dagster as dg

from pipelines.partitions import deletion_batch

unlearn_batch = dg.define_asset_job(
    "unlearn_batch",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("study"),
    partitions_def=deletion_batch,
    description="From the sealed requests of one batch to its certificate and, if every gate holds, its promotion.",
)
