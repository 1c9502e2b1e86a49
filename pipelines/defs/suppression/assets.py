"""What is withheld while a batch is on its way. Beside the line: nothing of it waits for a filter."""

from __future__ import annotations

from pipelines.making import stage_asset

interim_filter = stage_asset(
    "interim_filter",
    group="suppression",
    kinds={"safetensors"},
    description="A filter before the served model that withholds what looks like the images to forget. Suppression, "
    "claim level C0, never deletion; promotion takes it away.",
    pool="gpu",
)
