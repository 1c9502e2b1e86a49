"""The resources of every asset; what they leave open comes from the settings when a run starts."""

from __future__ import annotations

import dagster as dg

from pipelines.resources.compute import Compute
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench


@dg.definitions
def resources() -> dg.Definitions:
    """One of each."""
    return dg.Definitions(
        resources={
            "workbench": Workbench(),
            "compute": Compute(),
            "mlflow": MlflowTracking(),
            "dvc": Dvc(),
        }
    )
