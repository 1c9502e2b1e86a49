"""The job of which there is one, however many lines there are: its config names the model."""

from __future__ import annotations

import dagster as dg

from pipelines.rolling_back import roll_back


@dg.definitions
def rollback() -> dg.Definitions:
    """Rolling back."""
    return dg.Definitions(jobs=[roll_back])
