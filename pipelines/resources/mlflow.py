"""MLflow as a Dagster resource: one run an asset and batch, found by its tags and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.tracking import Place, Tracking
from unlearning.settings import Settings


class MlflowTracking(dg.ConfigurableResource[Any]):
    """Which tracking server, and how long one call to it may take."""

    uri: str | None = Field(
        default=None, description="tracking URI; default: UNLEARNING_MLFLOW_URI, else SQLite under the root"
    )
    timeout_s: float | None = Field(default=None, gt=0, description="longest wait for one call, seconds")

    def connect(self, root: Path, say: Callable[[str], None]) -> Tracking:
        """This process's door to MLflow. Nothing is asked yet."""
        settings = Settings()
        timeout_s = self.timeout_s or settings.mlflow_timeout_s
        return Tracking(Place.under(root, self.uri or settings.mlflow_uri, timeout_s), say)
