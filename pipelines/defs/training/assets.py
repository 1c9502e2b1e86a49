"""What must be kept, and the three models: before, after, and the one that never saw the forget set."""

from __future__ import annotations

from pipelines.making import stage_asset

retain_proxy_set = stage_asset(
    "retain_proxy_set",
    group="training",
    kinds={"parquet"},
    description="Images the model must keep, or that stand for them, and a held-out set in neither.",
)

original_checkpoint = stage_asset(
    "original_checkpoint",
    group="training",
    kinds={"pytorch", "safetensors"},
    description="The model before forgetting: the champion, pinned by version and sha256, or a base trained here.",
    pool="gpu",
)

reference_checkpoint = stage_asset(
    "reference_checkpoint",
    group="training",
    kinds={"pytorch", "safetensors"},
    description="The same training without any image of the forget manifest: what knowing nothing of it looks like.",
    pool="gpu",
)

unlearned_checkpoint = stage_asset(
    "unlearned_checkpoint",
    group="training",
    kinds={"pytorch", "safetensors"},
    description="The original after forgetting: method x merge x scope of params.yaml.",
    pool="gpu",
)
