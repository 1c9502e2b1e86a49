"""The job `roll_back`: the verb's generation, MLflow's aliases, and a refusal in its own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import defs
from pipelines.registry import Registered, crown, register
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from pipelines.rolling_back import JOB, roll_back
from pipelines.tracking import Subject
from tests.evidence.served import NAME, promoted
from tests.pipelines.line import QUIET
from tests.toy_batch import toy_params, toy_workspace
from unlearning.evidence import history, promotion
from unlearning.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, repository: Path, empty_database: Path) -> Workspace:
    """Two versions were served, and MLflow knows them."""
    params, workspace = toy_params(repository), toy_workspace(tmp_path)
    for number, chosen in enumerate(("star", "circle"), 1):
        promoted(params, workspace, number, chosen)
    home = workspace.root / "mlflow"
    home.mkdir()
    (home / "mlflow.db").write_bytes(empty_database.read_bytes())
    run = MlflowTracking().connect(workspace.root, print).open(Subject(NAME, "model_promotion", "b2", "c" * 64), {})
    shas = [row["sha256"] for row in history.read(workspace, NAME)[1:]]
    for sha256 in shas:
        register(run, Registered(NAME, sha256), [], {})
    crown(run, Registered(NAME, shas[1]), shas[0])
    return workspace


def _run(workspace: Workspace, **config: Any) -> dg.ExecuteInProcessResult:
    resources = {"workbench": Workbench(root=str(workspace.root)), "mlflow": MlflowTracking()}
    ops = {"serve_earlier_version": {"config": {"model": NAME, "reason": "worse_quality", **config}}}
    with dg.DagsterInstance.ephemeral() as instance:
        return roll_back.execute_in_process(
            run_config={"ops": ops, **QUIET}, resources=resources, instance=instance, raise_on_error=False
        )


def _aliases(workspace: Workspace) -> dict[str, str]:
    """Alias -> sha256 of the version it names."""
    tracking = MlflowTracking().connect(workspace.root, print)

    def act(client: Any) -> dict[str, str]:
        aliases = client.get_registered_model(NAME).aliases
        return {name: client.get_model_version(NAME, version).tags["sha256"] for name, version in aliases.items()}

    found = tracking.ask("a_test", "aliases", {}, act)
    assert found is not None
    return found


def test_the_aliases_follow_what_is_served(workspace: Workspace) -> None:
    lines = history.read(workspace, NAME)
    assert _aliases(workspace) == {"champion": lines[2]["sha256"], "previous": lines[1]["sha256"]}
    assert _run(workspace, to_version=1, expected=2).success
    now = promotion.champion(workspace, NAME)
    assert now is not None
    assert (now.version, now.rollback_of, now.sha256) == (3, 1, lines[1]["sha256"])
    assert _aliases(workspace) == {"champion": lines[1]["sha256"], "previous": lines[2]["sha256"]}

    assert _run(workspace, to_version=1, expected=2).success  # again: nothing is made
    assert promotion.champion(workspace, NAME) == now

    refused = _run(workspace, to_version=9)
    (failed,) = [event for event in refused.all_events if event.is_step_failure]
    assert failed.step_failure_data.user_failure_data is not None
    assert "version 9 was never served" in str(failed.step_failure_data.user_failure_data.description)


def test_the_code_location_has_the_job() -> None:
    assert defs().resolve_job_def(JOB).description is not None
