"""Grids of unlearning runs, and where they lead."""

from __future__ import annotations

from pipelines.studying import front_asset, point_asset

sweep_point = point_asset()
sweep_front = front_asset()
