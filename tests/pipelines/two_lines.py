"""Two models over one data set, in one root and one code location, on toys; the clock is a test's."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines import graph
from pipelines.automation import sealing, sensors
from pipelines.line import Line
from pipelines.resources.compute import Compute, Job
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from tests.pipelines.line import QUIET, ToyCompute
from tests.toy_batch import TOYS
from unlearning.requests.ledger import Ledger
from unlearning.workspace import Workspace

AWAY = MlflowTracking(uri="http://127.0.0.1:9", timeout_s=1.0)  # the discard port: nobody listens
SECOND = {**TOYS, "model.name": "toys-two"}


def later(**delta: float) -> datetime:
    """A moment after every request that was filed by now, to the minute."""
    return (datetime.now(UTC) + timedelta(minutes=2, **delta)).replace(second=0, microsecond=0)


class Mortal(ToyCompute):
    """Dies by a signal the first times it is asked for one stage, as a process that ran out of memory does."""

    stage: str = ""
    deaths: int = 0
    diary: str = ""  # a file with a line a launch

    def launch(self, context: dg.AssetExecutionContext, job: Job) -> None:
        with Path(self.diary).open("a+") as file:
            file.write(f"{job.batch} {job.stage}\n")
            file.seek(0)
            tried = file.read().split("\n").count(f"{job.batch} {job.stage}")
        if job.stage == self.stage and tried <= self.deaths:
            raise dg.Failure(f"{job.stage}: the compute process ended with signal SIGKILL")
        super().launch(context, job)


@dataclass(frozen=True)
class Location:
    """One code location with two lines, and its instance."""

    home: Path
    repository: Path
    instance: dg.DagsterInstance
    compute: Compute = field(default_factory=ToyCompute)
    mlflow: MlflowTracking = field(default_factory=lambda: AWAY)
    options: dict[str, Any] = field(default_factory=dict)  # of the second line

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.home / "var")

    @property
    def ledger(self) -> Ledger:
        return Ledger.at(self.workspace.ledger)

    @property
    def first(self) -> Line:
        return Line(params=self.repository / "params.yaml", overrides=TOYS, crash_delay_s=0)

    @property
    def second(self) -> Line:
        given = {"model": "toys-two", "dataset": "toys", "crash_delay_s": 0.0, **self.options}
        return Line("second", params=self.repository / "params.yaml", overrides=SECOND, **given)

    @property
    def workbench(self) -> Workbench:
        return Workbench(root=str(self.workspace.root))

    @property
    def defs(self) -> dg.Definitions:
        lines = (self.first, self.second)
        return dg.Definitions(
            assets=[asset for line in lines for asset in graph.assets(line)],
            asset_checks=[check for line in lines for check in graph.checks(line)],
            jobs=[job for line in lines for job in graph.jobs(line)],
            schedules=[sensors.weekly(line) for line in lines],
            sensors=[*(one for line in lines for one in sensors.of_line(line)), *sensors.of_all_lines()],
            resources={
                "workbench": self.workbench,
                "compute": self.compute,
                "mlflow": self.mlflow,
                "dvc": Dvc(project=str(self.home)),
            },
            executor=dg.in_process_executor,
        )

    def tick(self, line: Line, at: datetime) -> list[dg.RunRequest]:
        """What one evaluation of a line's schedule asks for."""
        return sealing.asked(line, self.workbench, sealing.tick(line, self.workbench, self.instance, at))

    def look(self, sensor: dg.SensorDefinition, **resources: Any) -> Any:
        """One evaluation of a sensor."""
        given = {"workbench": self.workbench, **resources}
        with dg.build_sensor_context(instance=self.instance, resources=given) as context:
            return sensor(context)

    def run(self, line: Line, key: str) -> dg.ExecuteInProcessResult:
        """What a run request starts."""
        job = self.defs.resolve_job_def(line.called(graph.BATCH_JOB))
        return job.execute_in_process(instance=self.instance, partition_key=key, run_config=QUIET, raise_on_error=False)

    def failed(self, line: Line, result: dg.ExecuteInProcessResult) -> Any:
        """What the line's failure sensor makes of a run."""
        [sensor] = [one for one in sensors.of_line(line) if one.name == line.called("refusals")]
        run = self.instance.get_run_by_id(result.run_id)
        assert run is not None
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor.name,
            dagster_event=result.get_run_failure_event(),
            dagster_instance=self.instance,
            dagster_run=run,
            resources={"workbench": self.workbench},
        )
        with context.for_run_failure() as failed:
            return sensor(failed)
