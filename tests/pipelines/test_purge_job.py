"""The job `purge`: what MLflow was given goes too, the sensor waits out the days of grace, and a late purge rings."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.automation import alarms, alive, sensors
from pipelines.line import Line
from pipelines.purging import purge_job
from pipelines.registry import Registered, register
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from pipelines.tracking import Subject, Tracking
from tests.evidence.served import NAME, promoted
from tests.pipelines.line import QUIET
from tests.toy_batch import TOYS, file_requests, request_body, request_id, toy_params, toy_workspace
from unlearning.evidence import lineage, purge
from unlearning.log import silent
from unlearning.verbs import purge as verb
from unlearning.verbs import request
from unlearning.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, repository: Path, empty_database: Path) -> Workspace:
    """Two batches were served; MLflow knows both versions, and the page of the first."""
    params, workspace = toy_params(repository), toy_workspace(tmp_path)
    batches = [promoted(params, workspace, number, chosen) for number, chosen in enumerate(("star", "circle"), 1)]
    home = workspace.root / "mlflow"
    home.mkdir()
    (home / "mlflow.db").write_bytes(empty_database.read_bytes())
    for batch in batches:
        run = _tracking(workspace).open(Subject(NAME, "unlearned_checkpoint", batch.key, "c" * 64), {})
        record = lineage.read(batch, "unlearned_checkpoint")
        register(run, Registered(NAME, record.sha256), [batch.unlearned / "model.safetensors"], {})
    return workspace


def _tracking(workspace: Workspace) -> Tracking:
    return MlflowTracking().connect(workspace.root, print)


def _workbench(workspace: Workspace, repository: Path) -> Workbench:
    return Workbench(root=str(workspace.root), params=str(repository / "params.yaml"), overrides=TOYS)


def _run(
    workspace: Workspace, repository: Path, batch: str, there: dg.DagsterInstance | None = None
) -> dg.ExecuteInProcessResult:
    line = Line()
    resources = {
        "workbench": _workbench(workspace, repository),
        "mlflow": MlflowTracking(),
        "dvc": Dvc(project=str(workspace.root.parent)),
    }
    with dg.DagsterInstance.ephemeral() if there is None else nullcontext(there) as instance:
        line.open_batch(instance, batch)
        return purge_job(line).execute_in_process(
            run_config=QUIET, resources=resources, instance=instance, partition_key=batch, raise_on_error=False
        )


def _versions(workspace: Workspace) -> set[str]:
    def act(client: Any) -> set[str]:
        return {version.tags["sha256"] for version in client.search_model_versions(f"name = '{NAME}'")}

    found = _tracking(workspace).ask("a_test", "versions", {}, act)
    assert found is not None
    return found


def _weights_of(workspace: Workspace, content: bytes) -> int:
    return sum(path.read_bytes() == content for path in (workspace.root / "mlflow").rglob("*.safetensors"))


def test_weights_that_knew_the_images_leave_mlflow_and_its_disk(workspace: Workspace, repository: Path) -> None:
    first, second = (workspace.batch(key) for key in ("b1", "b2"))
    old, new = (lineage.read(batch, "unlearned_checkpoint").sha256 for batch in (first, second))
    knew = (first.unlearned / "model.safetensors").read_bytes()
    assert _versions(workspace) == {old, new}
    assert _weights_of(workspace, knew) == 1

    done = _run(workspace, repository, "b2")

    assert done.success
    assert _versions(workspace) == {new}
    assert _weights_of(workspace, knew) == 0
    record = purge.read(second)
    assert record is not None
    assert record.status == "complete"
    told = record.at("mlflow_artifacts")
    assert told is not None
    assert (told.method, told.remaining) == ("gc", 0)
    assert told.removed == 2  # the version, and its file
    (said,) = [one for one in done.all_events if one.event_type_value == "ASSET_OBSERVATION"]
    assert "old_checkpoints" in str(said.event_specific_data)


def test_a_purge_says_where_it_works_and_its_failure_refuses_no_batch(workspace: Workspace, repository: Path) -> None:
    body = request_body(request_id=request_id(7), selectors=[{"class": "star", "approved_by": "privacy-officer"}])
    file_requests(workspace, body)
    request.change(request_id(7), workspace, "hold", "litigation")
    (sensor,) = [one for one in sensors.of_line(Line()) if one.name == "refusals"]
    with dg.DagsterInstance.ephemeral() as instance:
        done = _run(workspace, repository, "b1", instance)
        assert not done.success
        assert done.run_id in alive.known(workspace)  # or, after some minutes, it counts as dead while it works
        (event,) = [one for one in done.all_events if one.event_type == dg.DagsterEventType.RUN_FAILURE]
        run = instance.get_run_by_id(done.run_id)
        assert run is not None
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor.name,
            dagster_event=event,
            dagster_instance=instance,
            dagster_run=run,
            resources={"workbench": _workbench(workspace, repository)},
        )
        with context.for_run_failure() as failed:
            answer: Any = sensor(failed)
    assert "it is asked for again" in answer.skip_message
    assert not (workspace.batch("b1").path / "refusals").exists()
    assert not alarms.file(workspace).exists()


def test_what_a_command_cannot_reach_is_left_and_the_job_finishes_it(workspace: Workspace, repository: Path) -> None:
    batch = workspace.batch("b2")
    partly = verb.run(toy_params(repository), batch, silent)
    assert partly.record.status == "partial"
    left = partly.record.at("mlflow_artifacts")
    assert left is not None
    assert (left.remaining, left.why) == (1, "run_the_job_purge")
    assert _run(workspace, repository, "b2").success


def test_the_sensor_waits_out_the_grace_then_asks_once_a_day_and_rings_once(
    workspace: Workspace, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line()
    (sensor,) = [one for one in sensors.of_line(line) if one.name == "purges"]
    cursor = None
    asked = []
    with dg.DagsterInstance.ephemeral() as instance:
        for days in (1, 8, 8, 15, 16):
            at = datetime.now(UTC) + timedelta(days=days)
            monkeypatch.setattr(sensors, "now", lambda at=at: at)
            given: dict[str, object] = {"workbench": _workbench(workspace, repository)}
            with dg.build_sensor_context(instance=instance, resources=given, cursor=cursor) as context:
                answer: Any = sensor(context)
            cursor = answer.cursor
            asked.append([(one.partition_key, one.run_key) for one in answer.run_requests or []])
    assert asked[0] == []
    assert [key for key, _ in asked[1]] == ["b1", "b2"]
    assert asked[2] == asked[1]  # the same names: Dagster starts each once
    assert asked[3] != asked[1]
    rung = [json.loads(line)["batch"] for line in alarms.file(workspace).read_text().splitlines()]
    assert rung == ["b1", "b2"]
