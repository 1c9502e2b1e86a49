"""A study in Dagster: two points and the front, over a study that really runs, in this process and small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from pipelines import study, study_worker, studying
from pipelines.definitions import defs
from pipelines.partitions import point_key, study_points
from pipelines.resources.compute import Compute, Job, StudyJob
from pipelines.resources.workbench import Workbench
from tests.pipelines.line import QUIET, failures, materialized
from tests.studies.small import written
from unlearning.errors import UnlearningError
from unlearning.log import silent
from unlearning.studies import Plans
from unlearning.verbs import ingest
from unlearning.workspace import Workspace


class HereCompute(Compute):
    """The far end, called and not started."""

    def launch(self, context: dg.AssetExecutionContext, job: Job | StudyJob) -> None:
        assert isinstance(job, StudyJob)
        assert job.env["UNLEARNING_LEDGER_URL"] == ""
        if study_worker.main(job.words) != 0:
            raise UnlearningError("refused")


@dataclass(frozen=True)
class Opened:
    plans: Plans
    workspace: Workspace
    instance: dg.DagsterInstance

    def run(self, asset: str, partition: str | None = None) -> dg.ExecuteInProcessResult:
        resources = {
            **defs().resources,
            "workbench": Workbench(root=str(self.workspace.root)),
            "compute": HereCompute(),
        }
        graph = dg.Definitions(assets=defs().assets, resources=resources, executor=dg.in_process_executor)
        job = graph.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            partition_key=partition,
            run_config=QUIET,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(asset)],
        )


@pytest.fixture
def opened(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.setattr(study_worker, "die_with_parent", lambda: None)
    monkeypatch.setattr(study_worker, "stop_politely", lambda: None)
    methods = {"noise_target": {"vary": {"unlearn.merge.forget_weight": [0.1, 2]}}}
    plans, workspace = written(tmp_path, repository, methods=methods, ceiling={"steps": 0}), Workspace(tmp_path / "var")
    ingest.run("digits", "digits", workspace, silent)
    with dg.DagsterInstance.ephemeral() as instance:
        studying.launch(instance, plans, workspace)
        yield Opened(plans, workspace, instance)


def test_two_points_and_the_front(opened: Opened) -> None:
    keys = [point_key(opened.plans, point.id) for point in opened.plans.points]
    assert opened.instance.get_dynamic_partitions(str(study_points.name)) == keys
    assert studying.launch(opened.instance, opened.plans, opened.workspace) == []

    for key in keys:
        result = opened.run("sweep_point", key)
        assert result.success, failures(result)
        made = materialized(result)["sweep_point"]
        assert made.partition == key
        assert made.metadata["steps"].value == 25
        assert {"forgetting", "retention", "sibling_retention", "seconds", "path"} <= made.metadata.keys()

    result = opened.run("sweep_front")
    assert result.success, failures(result)
    front = materialized(result)["sweep_front"].metadata
    assert front["finished_small"].value == 2
    table = str(front["table_small"].value)
    assert "noise_target, forget_weight 0.1" in table
    assert "noise_target, forget_weight 2" in table
    assert str(front["pareto_small"].value).startswith("![pareto](data:image/png;base64,")
    assert front["hypervolume_small_three_eight_hole_noise_target"].value >= 0


def test_what_is_not_there_is_named(opened: Opened) -> None:
    for key, sentence in (("small:nothing", "there is no point 'nothing'"), ("other:x", "no study 'other' was opened")):
        opened.instance.add_dynamic_partitions(str(study_points.name), [key])
        [said] = failures(opened.run("sweep_point", key)).values()
        assert sentence in said


def test_a_study_is_opened_from_the_command_line(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNLEARNING_ROOT", str(tmp_path / "var"))
    monkeypatch.setenv("DAGSTER_HOME", "")  # home.prepare sets it; undone at the end
    plans = written(tmp_path / "study", repository)
    assert study.main([str(plans.file)]) == 0
    assert "3 new of 3 points" in capsys.readouterr().out
    assert studying.read(Workspace(tmp_path / "var"), "small").points == plans.points
    assert study.main(["nowhere.yaml"]) == 2
    assert "there is no such study file" in capsys.readouterr().err
