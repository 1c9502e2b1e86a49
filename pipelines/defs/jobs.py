"""Everything a batch needs, from its requests to its promotion; and, meanwhile, its filter."""

from __future__ import annotations

import dagster as dg

from pipelines.partitions import deletion_batch
from unlearning.evidence import suppression

unlearn_batch = dg.define_asset_job(
    "unlearn_batch",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("study", "suppression"),
    partitions_def=deletion_batch,
    description="From the sealed requests of one batch to its certificate and, if every gate holds, its promotion.",
)

suppress = dg.define_asset_job(
    "suppress",
    selection=dg.AssetSelection.assets("deletion_requests", "forget_manifest", "retain_proxy_set", suppression.ASSET),
    partitions_def=deletion_batch,
    description="Seconds: withhold what one batch asks to forget, beside the model that still knows it (C0).",
)
