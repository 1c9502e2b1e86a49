"""The sensors of which there is one, however many lines there are."""

from __future__ import annotations

import dagster as dg

from pipelines.automation import sensors


@dg.definitions
def operation() -> dg.Definitions:
    """Inbox, deadlines, dead runs, MLflow's outbox."""
    return dg.Definitions(sensors=sensors.of_all_lines())
