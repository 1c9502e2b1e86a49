"""Every launcher runs the same words; on a cluster the refusal arrives, and a stop ends the pod."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster_k8s.pipes import build_pod_body

from pipelines import ray_ranks
from pipelines.resources.cluster import Cluster
from pipelines.resources.compute import Compute, Job, LocalProcesses, StudyJob
from pipelines.resources.pods import RUN, KubernetesPods, labels
from pipelines.resources.rayjobs import RayJobs
from tests.pipelines.stand_in import asked as asked
from tests.pipelines.toy_cluster import ToyCluster, ToyRay
from tests.pipelines.toy_cluster import toy_cluster as toy_cluster
from tests.pipelines.toy_cluster import toy_rays as toy_rays
from tests.toy_batch import TOYS, toy_workspace
from unlearning.errors import UnlearningError
from unlearning.evidence import lineage
from unlearning.settings import Settings
from unlearning.stages import BESIDE, STAGES
from unlearning.workspace import Workspace

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

TRAINED = [stage for stage in (*STAGES.values(), *BESIDE.values()) if stage.trains]


def _job(stage: str, folder: Path) -> Job:
    return Job(stage, "b1", folder / "var", folder / "params.yaml", {"unlearn.budget.steps": 8})


@pytest.mark.parametrize("stage", TRAINED, ids=lambda stage: stage.name)
def test_every_launcher_runs_the_same_words(stage: Any, tmp_path: Path) -> None:
    job = _job(stage.name, tmp_path)
    here = LocalProcesses(processes=4)._command(job)[1:]
    pods = KubernetesPods(Cluster(gpus=4))
    assert pods.container(job, pods.gpus(job))["command"][1:] == here
    if stage.together:
        entry = RayJobs(Cluster(gpus=4, nodes=2)).body(job, {})["spec"]["entrypoint"].split()
        options = ray_ranks._parser().parse_args(entry[3:])
        started = ray_ranks.agent(1, options.nodes, options.gpus, ("head", 29500), options.words[1:])
        assert started[started.index("pipelines.trainer") - 1 :] == [*here[: -len(["--processes", "4"])]]


def test_what_does_not_train_together_asks_for_one_accelerator(tmp_path: Path) -> None:
    pods = KubernetesPods(Cluster(gpus=4))
    assert [pods.gpus(_job(name, tmp_path)) for name in ("unlearned_checkpoint", "evaluation_report")] == [4, 1]
    assert pods.gpus(StudyJob("point", "p", tmp_path / "s.yaml", tmp_path)) == 1
    assert KubernetesPods(Cluster(gpus=0)).gpus(_job("unlearned_checkpoint", tmp_path)) == 0


def test_a_label_holds_the_longest_batch_key(tmp_path: Path) -> None:
    key = "b" * 62 + "-1"
    assert labels(Job("plan", key, tmp_path, tmp_path))["unlearning/batch"] == "b" * 62


def test_the_settings_choose_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"local": LocalProcesses, "torchrun": LocalProcesses, "kubernetes": KubernetesPods, "ray": RayJobs}
    for kind, launcher in kinds.items():
        monkeypatch.setenv("UNLEARNING_LAUNCHER", kind)
        assert type(Compute().chosen()) is launcher
        assert type(Compute(launcher="local").chosen()) is LocalProcesses
    monkeypatch.setenv("UNLEARNING_LAUNCHER", "kubernets")
    with pytest.raises(ValueError, match="launcher"):
        Settings()
    with pytest.raises(ValueError, match="launcher"):
        Compute(launcher="kubernets")


@dg.job
def _nothing() -> None:
    """A run of something else."""


@dataclass
class Desk:
    """Somewhere to launch from: a root with a data set, and an asset that does nothing but launch."""

    workspace: Workspace
    params: Path
    instance: dg.DagsterInstance
    beats: int = 0

    def launch(self, launcher: str = "kubernetes") -> dg.ExecuteInProcessResult:
        job = Job("original_checkpoint", "b1", self.workspace.root, self.params, TOYS, {"GIVEN": "yes"}, self._beat)

        @dg.asset
        def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            Compute(launcher=launcher).launch(context, job)
            return dg.MaterializeResult()

        return dg.materialize([made], instance=self.instance, run_config=QUIET)

    def _beat(self) -> None:
        self.beats += 1


@pytest.fixture
def desk(tmp_path: Path, repository: Path) -> Iterator[Desk]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Desk(toy_workspace(tmp_path), repository / "params.yaml", instance)


def test_a_pod_makes_the_asset(desk: Desk, wish: Any, cluster: ToyCluster) -> None:
    wish("make")
    result = desk.launch()
    assert desk.workspace.batch("b1").original.is_dir()
    said = [event.message for event in desk.instance.all_logs(result.run_id)]
    assert any("original_checkpoint 2/2 loss=0.25" in message for message in said)
    assert desk.beats > 0
    [pod] = cluster.created
    [container] = pod["spec"]["containers"]
    assert pod["namespace"] == "toys"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 60
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "GIVEN", "value": "yes"} in container["env"]
    root = str(desk.workspace.root)
    assert {"name": "root", "mountPath": root} in container["volumeMounts"]
    assert root in container["command"]
    assert cluster.pods == {}
    assert list((desk.workspace.root / "pipes").iterdir()) == []


def test_the_pods_own_sentence_is_the_failure(desk: Desk, wish: Any, cluster: ToyCluster) -> None:
    wish("refuse")
    with pytest.raises(UnlearningError, match=r"^shard a.tar is truncated at byte 512; fetch it again$"):
        desk.launch()
    assert cluster.pods == {}


def test_a_pod_that_dies_without_a_word_is_told_as_such(desk: Desk, wish: Any, cluster: ToyCluster) -> None:
    wish("die")
    with pytest.raises(dg.Failure, match=r"the pod ended with exit code 247 \(OOMKilled\)"):
        desk.launch()


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("unschedulable", r"did not start within 0.2 s \(Unschedulable\)"),
        ("evicts", r"the pod ended without its process \(Evicted\)"),
        ("denies", "the cluster answered 403: exceeded quota: gpus"),
    ],
)
def test_a_pod_that_never_runs_is_told_as_such(
    trouble: str, sentence: str, desk: Desk, cluster: ToyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNLEARNING_K8S_QUEUE_S", "0.2")
    setattr(cluster, trouble, True)
    with pytest.raises(dg.Failure, match=sentence):
        desk.launch()
    assert cluster.pods == {}


def test_a_stop_lets_the_pod_save_and_leaves_none(desk: Desk, wish: Any, cluster: ToyCluster, tmp_path: Path) -> None:
    wish("wait")
    os.mkfifo(tmp_path / "told")
    heard: list[str] = []

    def stop_when_started() -> None:
        with (tmp_path / "told").open() as told:
            heard.append(told.readline())
            os.kill(os.getpid(), signal.SIGINT)
            heard.extend(told.readlines())

    thread = threading.Thread(target=stop_when_started)
    thread.start()
    with pytest.raises((KeyboardInterrupt, dg.DagsterExecutionInterruptedError)):
        desk.launch()
    thread.join()
    assert heard == ["started\n", "left\n"]
    assert cluster.pods == {}
    [process] = cluster.running.values()
    assert process.poll() == 128 + signal.SIGTERM


def test_a_pod_that_somebody_deletes_is_told_as_such(
    desk: Desk, wish: Any, cluster: ToyCluster, tmp_path: Path
) -> None:
    wish("wait")
    os.mkfifo(tmp_path / "told")

    def delete_when_started() -> None:
        with (tmp_path / "told").open() as told:
            told.readline()
            [name] = cluster.pods
            cluster.delete_namespaced_pod(name, "toys")
            told.readlines()

    thread = threading.Thread(target=delete_when_started)
    thread.start()
    with pytest.raises(dg.Failure, match="deleted by somebody else"):
        desk.launch()
    thread.join()


@pytest.mark.parametrize("finished", [True, False], ids=["its run was killed", "its run waits for it"])
def test_a_pod_that_a_killed_run_left_behind_is_ended_and_another_runs_is_not(
    finished: bool, desk: Desk, wish: Any, cluster: ToyCluster, tmp_path: Path
) -> None:
    wish("wait")
    os.mkfifo(tmp_path / "told")
    job = Job("original_checkpoint", "b1", desk.workspace.root, desk.params, TOYS)
    status = dg.DagsterRunStatus.FAILURE if finished else dg.DagsterRunStatus.STARTED
    other = desk.instance.create_run_for_job(_nothing, status=status)
    pods = KubernetesPods()
    spec = pods.cluster.pod_spec(pods.container(job, 0), job.root, 0, 1.0)
    meta = {"labels": {**labels(job), RUN: other.run_id}}
    cluster.create_namespaced_pod("toys", build_pod_body("left", None, None, {}, meta, spec))
    with (tmp_path / "told").open() as told:
        assert told.readline() == "started\n"
        wish("make")
        if finished:
            desk.launch()
            assert told.read() == "left\n"
        else:
            with pytest.raises(UnlearningError, match="is being made by another process now"):
                desk.launch()
            cluster.delete_namespaced_pod("left", "toys")
            told.read()
    assert desk.workspace.batch("b1").original.is_dir() == finished


def test_a_ray_job_has_its_head_and_the_other_nodes(tmp_path: Path) -> None:
    job = _job("unlearned_checkpoint", tmp_path)
    body = RayJobs(Cluster(gpus=2, nodes=3, namespace="toys"), grace_s=30).body(job, {"MLFLOW_RUN_ID": "x"})
    spec = body["spec"]
    [workers] = spec["rayClusterSpec"]["workerGroupSpecs"]
    head = spec["rayClusterSpec"]["headGroupSpec"]
    assert (workers["replicas"], body["metadata"]["namespace"]) == (2, "toys")
    for template in (head["template"], workers["template"]):
        assert template["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
        assert template["spec"]["terminationGracePeriodSeconds"] == 30
    assert yaml.safe_load(spec["runtimeEnvYAML"]) == {"env_vars": {"MLFLOW_RUN_ID": "x"}}
    assert spec["backoffLimit"] == 0


def test_a_ray_job_makes_the_asset_and_is_deleted(desk: Desk, wish: Any, rays: ToyRay) -> None:
    wish("make")
    desk.launch("ray")
    assert desk.workspace.batch("b1").original.is_dir()
    [body] = rays.created
    assert yaml.safe_load(body["spec"]["runtimeEnvYAML"])["env_vars"]["GIVEN"] == "yes"
    assert (rays.running, rays.deleted) == ({}, [body["metadata"]["name"]])


def test_a_ray_jobs_own_sentence_is_the_failure(desk: Desk, wish: Any, rays: ToyRay) -> None:
    wish("refuse")
    with pytest.raises(UnlearningError, match=r"^shard a.tar is truncated at byte 512; fetch it again$"):
        desk.launch("ray")
    assert rays.running == {}


def test_a_ray_job_that_dies_without_a_word_is_told_as_such(desk: Desk, wish: Any, rays: ToyRay) -> None:
    wish("die")
    with pytest.raises(dg.Failure, match=r"the RayJob ended \(FAILED\)"):
        desk.launch("ray")


def test_two_machines_under_ray_train_as_two_ranks(
    desk: Desk, wish: Any, rays: ToyRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real entrypoint and the real torchrun, twice, on a Ray of two machines that are both this one."""
    wish("make")
    rays.whole = True
    monkeypatch.setenv("UNLEARNING_K8S_NODES", "2")
    monkeypatch.setenv("UNLEARNING_K8S_GPUS", "0")
    desk.launch("ray")
    record = lineage.read(desk.workspace.batch("b1"), "original_checkpoint")
    assert record.facts["ranks"] == "2"
