"""The soak's code location: the lines of its home, from their defs.yaml, and the sensors and jobs of every line.

SOAK_HOME names the home; `dagster dev -m tests.soak.definitions` shows it.
"""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import yaml

from pipelines import graph
from pipelines.automation import sensors
from pipelines.components import RecurringUnlearning
from pipelines.line import Line
from pipelines.resources.compute import Compute
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from pipelines.rolling_back import roll_back
from tests.soak.clock import Clock
from unlearning.settings import Settings

HOME = Path(os.environ["SOAK_HOME"])


def lines() -> list[Line]:
    """What the files of defs/ say."""
    told = [yaml.safe_load(path.read_text())["attributes"] for path in sorted((HOME / "defs").glob("*/defs.yaml"))]
    return [RecurringUnlearning(**attributes).line(HOME) for attributes in told]


def _compute() -> Compute:
    if not os.environ.get("SOAK_TOY"):
        return Compute()
    from tests.soak.toy import SoakedToys

    return SoakedToys()


@dg.definitions
def defs() -> dg.Definitions:
    """All of it."""
    Clock(Settings().root).keep()
    known = lines()
    return dg.Definitions(
        assets=[asset for line in known for asset in graph.assets(line)],
        asset_checks=[check for line in known for check in graph.checks(line)],
        jobs=[*(job for line in known for job in graph.jobs(line)), roll_back],
        schedules=[sensors.weekly(line) for line in known],
        sensors=[*(one for line in known for one in sensors.of_line(line)), *sensors.of_all_lines()],
        resources={
            "workbench": Workbench(),
            "compute": _compute(),
            "mlflow": MlflowTracking(),
            "dvc": Dvc(project=str(HOME)),
        },
        executor=dg.in_process_executor,
    )
