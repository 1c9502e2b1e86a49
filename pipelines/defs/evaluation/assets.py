"""The three models side by side, on missing pixels."""

from __future__ import annotations

from pipelines.making import stage_asset

evaluation_report = stage_asset(
    "evaluation_report",
    group="evaluation",
    kinds={"pytorch", "html"},
    description="Scores with intervals, per-image values, and report.html for people.",
    pool="gpu",
)
