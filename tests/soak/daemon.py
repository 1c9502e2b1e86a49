"""What Dagster's daemon and run launcher do, one look at a time: the real definitions, real runs, and kill -9."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

import dagster as dg

from pipelines.automation import sealing
from tests.soak.definitions import defs
from tests.soak.home import LINE, Home
from unlearning import files
from unlearning.evidence import purge
from unlearning.stages import STAGES
from unlearning.workspace import BatchFolder

MAX_RETRIES = 3  # run_retries of infra/dagster/dagster.yaml
_LOOK_S = 0.05
Kill: TypeAlias = tuple[str, Callable[[subprocess.Popen[bytes]], bool]]  # in what, and whether it was in time


@dataclass(slots=True)
class Ran:
    """What became of a batch in one go, retries included."""

    key: str
    success: bool = False
    runs: list[str] = field(default_factory=list)
    killed_in: list[str] = field(default_factory=list)  # the stage that was being made
    seconds: float = 0.0


@dataclass(slots=True)
class Daemon:
    """One code location, one instance."""

    home: Home
    instance: dg.DagsterInstance
    chance: random.Random  # the moments of kills: not of the seed
    said: list[str] = field(default_factory=list)  # what sensors skipped with, for the one who reads the log
    _defs: dg.Definitions = field(default_factory=defs)
    _cursors: dict[str, str | None] = field(default_factory=dict)
    _started: set[str] = field(default_factory=set)  # run keys
    _told: set[str] = field(default_factory=set)  # failed runs that the failure sensor has seen

    def look(self, name: str) -> list[dg.RunRequest]:
        """One evaluation of a sensor, with the resources of the code location."""
        sensor = self._defs.resolve_sensor_def(name)
        cursor = self._cursors.get(name)
        with dg.build_sensor_context(
            instance=self.instance, resources=self._resources(sensor), cursor=cursor
        ) as context:
            answer: Any = sensor(context)
        if isinstance(answer, dg.SensorResult):
            self._cursors[name] = answer.cursor
            answer = answer.run_requests or answer.skip_reason
        return self._fresh(answer)

    def tick(self, at: datetime) -> list[dg.RunRequest]:
        """One evaluation of the schedule. Again for the same tick: no run that was asked for before."""
        schedule = self._defs.resolve_schedule_def(f"{LINE}_weekly")
        with dg.build_schedule_context(
            self.instance, scheduled_execution_time=at, resources=self._resources(schedule)
        ) as context:
            return self._fresh(schedule(context))

    def make(self, asked: dg.RunRequest, kill_in: Sequence[str], meanwhile: Callable[[], None], **env: str) -> Ran:
        """The run that was asked for, killed once in each of these stages and retried as Dagster would retry it."""
        batch = self.home.workspace.batch(str(asked.partition_key))
        kills = [(stage, partial(self._killed, batch=batch, stage=stage)) for stage in kill_in]
        return self._tried("unlearn_batch", asked, kills, meanwhile, **env)

    def purge(self, asked: dg.RunRequest, killed: bool, **env: str) -> Ran:
        """The purge that was asked for, killed once where that is wanted, and retried as Dagster would retry it."""
        batch = self.home.workspace.batch(str(asked.partition_key))
        kills = [("purge", partial(self._killed_clearing, batch=batch))] if killed else []
        return self._tried("purge", asked, kills, lambda: None, **env)

    def _tried(
        self, job: str, asked: dg.RunRequest, kills: Sequence[Kill], meanwhile: Callable[[], None], **env: str
    ) -> Ran:
        """A run, and its retries. Each kill is tried once, in its order."""
        assert asked.partition_key is not None
        ran, wanted, began = Ran(asked.partition_key), list(kills), time.monotonic()
        tags = dict(asked.tags)
        for attempt in range(MAX_RETRIES + 1):
            process = self.start(f"{LINE}_{job}", {"partition": ran.key, "tags": tags}, **env)
            if attempt == 0:
                meanwhile()
            if wanted:
                what, kill = wanted.pop(0)
                ran.killed_in += [what] if kill(process) else []
            ran.success = process.wait() == 0
            self.look("dead_runs")
            run = self._last(ran.key)
            ran.runs.append(run.run_id)
            if ran.success or not self._fail(run):
                break
            root = run.tags.get("dagster/root_run_id", run.run_id)
            again = {"dagster/parent_run_id": run.run_id, "dagster/root_run_id": root}
            tags = {**asked.tags, **again, "dagster/retry_number": str(attempt + 1)}
        ran.seconds = time.monotonic() - began
        return ran

    def start(self, job: str, told: dict[str, Any], **env: str) -> subprocess.Popen[bytes]:
        """A run, in a process of its own."""
        words = [sys.executable, "-m", "tests.soak.work", job, json.dumps(told)]
        with (self.home.path / "runs.log").open("ab") as log:
            return subprocess.Popen(words, cwd=self.home.path, env={**self.home.env, **env}, stdout=log, stderr=log)

    def _killed(self, process: subprocess.Popen[bytes], batch: BatchFolder, stage: str) -> bool:
        """kill -9 at a random moment of a stage; False where the run ended before."""
        before = list(STAGES)[: list(STAGES).index(stage)]
        while process.poll() is None and not (
            self._works(process) and all(batch.lineage(name).is_file() for name in before)
        ):
            time.sleep(_LOOK_S)
        if not batch.lineage(stage).is_file():
            began, longest = time.monotonic(), self.chance.uniform(0, 6 if STAGES[stage].trains else 0.3)
            while time.monotonic() - began < longest and not batch.lineage(stage).is_file() and process.poll() is None:
                time.sleep(_LOOK_S)
        return _kill(process)

    def _killed_clearing(self, process: subprocess.Popen[bytes], batch: BatchFolder) -> bool:
        """kill -9 at a random moment of a purge that has begun to clear; False where it ended before."""
        while process.poll() is None and not (self._works(process) and purge.under_way(batch) is not None):
            time.sleep(_LOOK_S)
        time.sleep(self.chance.uniform(0, 1))
        return _kill(process)

    def _works(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether its run has begun: it says so where the sensor dead_runs looks."""
        told = (self.home.workspace.root / "runs").glob("*.json")
        return any(files.read_json(path)["pid"] == process.pid for path in told)

    def _fail(self, run: dg.DagsterRun) -> bool:
        """Have the line's failure sensor look at a failed run; whether Dagster would try it again."""
        assert run.status == dg.DagsterRunStatus.FAILURE, (run.run_id, run.status)
        sensor = self._defs.resolve_sensor_def(f"{LINE}_refusals")
        if run.run_id not in self._told:
            [event, *_] = [
                entry.dagster_event
                for entry in self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
            ]
            assert event is not None
            context = dg.build_run_status_sensor_context(
                sensor_name=sensor.name,
                dagster_event=event,
                dagster_instance=self.instance,
                dagster_run=run,
                resources=self._resources(sensor),
            )
            with context.for_run_failure() as failed:
                self._note(sensor(failed))
            self._told.add(run.run_id)
        return run.tags.get("dagster/will_retry") == "true"

    def _last(self, key: str) -> dg.DagsterRun:
        return self.instance.get_runs(dg.RunsFilter(tags={sealing.PARTITION: key}), limit=1)[0]

    def _fresh(self, answer: Any) -> list[dg.RunRequest]:
        """The run requests whose key no run had before; Dagster starts a run of one key once."""
        if isinstance(answer, dg.SkipReason) or answer is None:
            self._note(answer)
            return []
        fresh = [one for one in answer if one.run_key not in self._started]
        self._started |= {str(one.run_key) for one in fresh}
        return fresh

    def _note(self, answer: dg.SkipReason | None) -> None:
        if answer is not None:
            self.said.append(str(answer.skip_message))

    def _resources(self, definition: Any) -> dict[str, Any]:
        """Those that a sensor or a schedule asks for."""
        return {name: (self._defs.resources or {})[name] for name in definition.required_resource_keys}


def _kill(process: subprocess.Popen[bytes]) -> bool:
    """False where it has ended by itself."""
    if process.poll() is not None:
        return False
    process.kill()
    return True
