"""What Dagster does by itself: the schedule's shell, the inbox, deadlines, dead runs, and MLflow's outbox."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines import outbox, tracking
from pipelines.automation import alarms, alive, reaping, sensors
from pipelines.line import Line
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from tests.pipelines.two_lines import AWAY, Location, later
from tests.toy_batch import file_requests, request_body, request_id, toy_workspace
from unlearning.requests import batch_keys
from unlearning.stages import STAGES
from unlearning.workspace import Workspace

BEAT = """
import pathlib, sys
from pipelines.automation import alive
from unlearning.workspace import Workspace
alive.beating(Workspace(pathlib.Path(sys.argv[1])), sys.argv[2])
"""


@pytest.fixture(autouse=True)
def _every_server_may_be_asked_again() -> Iterator[None]:
    tracking._silenced.clear()
    yield
    tracking._silenced.clear()


@pytest.fixture(scope="module")
def kept() -> Iterator[dg.DagsterInstance]:
    """An instance on a disk: what a schedule's context needs."""
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def location(tmp_path: Path, repository: Path, kept: dg.DagsterInstance) -> Location:
    file_requests(toy_workspace(tmp_path), request_body())
    return Location(tmp_path, repository, kept)


def _sensor(name: str) -> dg.SensorDefinition:
    return next(one for one in sensors.of_all_lines() if one.name == name)


def _path(location: Location) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(location.repository)}


def _said(answer: Any) -> str:
    assert isinstance(answer, dg.SkipReason)
    return str(answer.skip_message)


def test_the_schedule_asks_for_a_run_a_batch_and_says_when_there_is_none(location: Location) -> None:
    at = later()

    def evaluate() -> Any:
        given: dict[str, object] = {"workbench": location.workbench}
        with dg.build_schedule_context(location.instance, scheduled_execution_time=at, resources=given) as context:
            return sensors.weekly(location.second)(context)

    [asked] = evaluate()
    assert asked.partition_key == batch_keys.of_tick("second", at)
    assert evaluate() == [asked]
    at += timedelta(days=7)
    assert "line second: no request received before" in _said(evaluate())


def test_schedule_and_sensors_are_off_unless_a_line_or_the_environment_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    off, on = dg.DefaultSensorStatus.STOPPED, dg.DefaultSensorStatus.RUNNING
    assert {one.default_status for one in [*sensors.of_all_lines(), *sensors.of_line(Line())]} == {off}
    assert {one.default_status for one in sensors.of_line(Line(active=True))} == {on}
    assert sensors.weekly(Line(active=True)).default_status == dg.DefaultScheduleStatus.RUNNING
    monkeypatch.setenv("UNLEARNING_AUTOMATION", "true")
    assert {one.default_status for one in sensors.of_all_lines()} == {on}


def test_the_inbox_is_emptied_and_what_is_refused_is_counted(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNLEARNING_INBOX_SETTLE_S", "0")
    inbox = location.workspace.root / "inbox"
    inbox.mkdir()
    (inbox / "monday.json").write_text(json.dumps(request_body(request_id=request_id(2))))
    (inbox / "broken.json").write_text("{")
    assert _said(location.look(_sensor("inbox"))) == "1 files, 1 new requests, 0 known, 1 files refused, 0 wait"
    assert _said(location.look(_sensor("inbox"))) == "0 files, 0 new requests, 0 known, 0 files refused, 0 wait"
    assert len(location.ledger.entries()) == 2


def test_a_deadline_rings_once_in_the_log_and_in_the_file(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    location.ledger.register("toys-two", "toys")
    rung = []
    for days in (1, 16, 16, 40):
        moment = later(days=days)
        monkeypatch.setattr(sensors, "now", functools.partial(max, moment, moment))
        rung.append(_said(location.look(_sensor("deadlines"))))
    assert rung == ["0 alarms", "1 alarms", "0 alarms", "1 alarms"]
    told = [json.loads(line) for line in alarms.file(location.workspace).read_text().splitlines()]
    assert [(one["kind"], one["level"]) for one in told] == [("deadline", 0.5), ("deadline", 1.0)]
    assert {one["request_id"] for one in told} == {request_body()["request_id"]}


def test_a_run_whose_process_is_gone_is_reported_and_one_that_works_is_not(location: Location) -> None:
    job, instance, workspace = location.defs.resolve_job_def("suppress"), location.instance, location.workspace
    working, gone, done = (
        instance.create_run_for_job(job, status=status)
        for status in (
            dg.DagsterRunStatus.STARTED,
            dg.DagsterRunStatus.STARTED,
            dg.DagsterRunStatus.SUCCESS,
        )
    )
    for run in (working, done):
        alive.beating(workspace, run.run_id)
    subprocess.run([sys.executable, "-c", BEAT, str(workspace.root), gone.run_id], env=_path(location), check=True)
    assert reaping.reap(workspace, instance) == [gone.run_id]
    statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert statuses[gone.run_id] == dg.DagsterRunStatus.FAILURE
    assert statuses[working.run_id] == dg.DagsterRunStatus.STARTED
    assert alive.known(workspace) == sorted([working.run_id, gone.run_id])
    assert reaping.reap(workspace, instance) == []
    assert alive.known(workspace) == [working.run_id]


def test_a_run_that_died_before_it_could_say_where_it_works_is_reported_after_a_while(location: Location) -> None:
    instance, job = location.instance, location.defs.resolve_job_def("second_unlearn_batch")
    started, of_nobody = (
        instance.create_run_for_job(one, status=dg.DagsterRunStatus.NOT_STARTED, tags=tags)
        for one, tags in ((job, location.second.tags), (location.defs.resolve_job_def("suppress"), {}))
    )
    for run in (started, of_nobody):
        instance.report_dagster_event(
            dg.DagsterEvent("PIPELINE_START", run.job_name, message="started"), run_id=run.run_id
        )
    [record] = instance.get_run_records(dg.RunsFilter(run_ids=[started.run_id]))
    assert record.start_time is not None
    assert reaping.reap(location.workspace, instance, record.start_time + 60) == []
    assert started.run_id in reaping.reap(location.workspace, instance, record.start_time + 3600)
    assert reaping.reap(location.workspace, instance, record.start_time + 3600) == []


def test_a_process_of_another_boot_is_gone_only_after_a_long_silence(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    beat = alive.beating(workspace, "r1")
    path = tmp_path / "runs" / "r1.json"
    assert alive.state(workspace, "r1") == "alive"
    path.write_text(path.read_text().replace('"started":', '"started":1'))
    assert alive.state(workspace, "r1") == "gone"  # the same id, of a process that began at another time
    path.write_text(path.read_text().replace('"where":"', '"where":"an earlier boot '))
    now = datetime.now(UTC).timestamp()
    assert alive.state(workspace, "r1", now) == "unknown"
    assert alive.state(workspace, "r1", now + 3600) == "gone"
    beat()
    assert alive.state(workspace, "r1", path.stat().st_mtime + 60) == "unknown"
    assert alive.state(workspace, "never heard of") == "unknown"


def test_what_mlflow_missed_is_told_once_it_is_back(
    tmp_path: Path, repository: Path, kept: dg.DagsterInstance, empty_database: Path
) -> None:
    workspace = toy_workspace(tmp_path)
    file_requests(workspace, request_body())
    location = Location(tmp_path, repository, kept)
    location.tick(location.first, at := later())
    key = batch_keys.of_tick("default", at)
    assert location.run(location.first, key).success
    wanted = [f"{key}.{name}" for name in [*STAGES, "model_promotion"]]
    assert outbox.waiting(AWAY.connect(workspace.root, pytest.fail)) == wanted
    tracking._silenced.clear()
    given: dict[str, Any] = {"mlflow": AWAY, "dvc": Dvc(project=str(tmp_path))}
    assert _said(location.look(_sensor("mlflow_outbox"), **given)) == f"0 outboxes delivered, {len(wanted)} wait"

    (workspace.root / "mlflow" / "mlflow.db").write_bytes(empty_database.read_bytes())
    given["mlflow"] = MlflowTracking()
    assert _said(location.look(_sensor("mlflow_outbox"), **given)) == f"{len(wanted)} outboxes delivered, 0 wait"
    assert _said(location.look(_sensor("mlflow_outbox"), **given)) == "nothing waits"
    client = MlflowTracking().connect(workspace.root, pytest.fail)._connected()
    found = client.search_runs([client.get_experiment_by_name("digits-mae").experiment_id])
    assert sorted(run.data.tags["unlearning.asset"] for run in found) == sorted([*STAGES, "model_promotion"])
    assert {run.info.status for run in found} == {"FINISHED"}
    assert all(run.data.tags["dagster.partition"] == key for run in found)
    by_asset = {run.data.tags["unlearning.asset"]: run for run in found}
    assert by_asset["evaluation_report"].data.metrics["forgetting.low"] == pytest.approx(0.94)
    champion = client.get_model_version_by_alias("digits-mae", "champion")
    assert champion.tags["batch"] == key
