"""What is asked to be forgotten, and which stored images that means."""

from __future__ import annotations

import dagster as dg

from pipelines.making import OWNERS, stage_asset

image_dataset = dg.AssetSpec(
    "image_dataset",
    group_name="intake",
    kinds={"webdataset", "parquet"},
    owners=OWNERS,
    description="The ingested images: shards and index.parquet below <root>/data. Made by `unlearning ingest SOURCE`.",
)

deletion_requests = stage_asset(
    "deletion_requests",
    group="intake",
    kinds={"sqlite", "json"},
    description="The pending requests of one goal, sealed into a batch that never changes again.",
    pool="ledger",
)

forget_manifest = stage_asset(
    "forget_manifest",
    group="intake",
    kinds={"parquet"},
    description="Every stored image that the requests cover, equal pixels included.",
    pool="ledger",
)

deletion_plan = stage_asset(
    "deletion_plan",
    group="intake",
    kinds={"json"},
    description="Which way of forgetting the policy has this batch take: exact, approximate, retrain or suppress; why.",
    pool="ledger",
)
