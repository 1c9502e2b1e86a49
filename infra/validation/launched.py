"""The pods and Jobs that a run would make: rendered by our launchers and by dagster-k8s, not written by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes
import yaml
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job
from dagster_k8s.pipes import build_pod_body

from infra.validation import INFRA, Row
from infra.validation.helm import launcher_config, values
from infra.validation.kubernetes import VERSION, pod_faults, schema_fault
from pipelines.resources.cluster import Cluster
from pipelines.resources.compute import Job
from pipelines.resources.pods import KubernetesPods, labels
from pipelines.resources.rayjobs import RayJobs
from unlearning.stages import BESIDE, STAGES

ROOT = Path("/var/lib/unlearning")
EXAMPLE = INFRA / "k8s" / "ray" / "rayjob.yaml"
_OF_A_CONTAINER = {
    *("env_secrets", "volumes", "volume_mounts", "labels", "resources", "security_context", "run_k8s_config"),
    *("service_account_name", "image_pull_policy"),
}
_OF_A_RUN = ("job_image", "dagster_home", "instance_config_map", "postgres_password_secret")
NAME = "unlearning-0123456789ab"  # a launch draws one; the example must stay the same


def rows() -> Iterator[Row]:
    """Every stage that trains, on zero, one and four accelerators; a run worker; a RayJob."""
    for stage in (*STAGES.values(), *BESIDE.values()):
        if stage.trains:
            bodies = [_pod(stage.name, gpus) for gpus in (0, 1, 4)]
            wrong = tuple(fault for body in bodies for fault in _faults(body))
            yield Row(f"pod of {stage.name}", f"rendered (0, 1, 4 accelerators), schema {VERSION} strict", wrong)
    body = run_worker()
    wrong = tuple(filter(None, [schema_fault(body), *pod_faults("run worker", body["spec"]["template"]["spec"])]))
    yield Row("Job of a run", f"K8sRunLauncher with the chart's values, schema {VERSION} strict", wrong)
    yield _ray()
    yield Row("RayJob", "KubeRay's own schema", why_not="the CRD is not part of Kubernetes; no KubeRay here")


def _pod(stage: str, gpus: int) -> dict[str, Any]:
    pods, job = KubernetesPods(Cluster(gpus=gpus)), _job(stage)
    wanted = pods.gpus(job)
    spec = pods.cluster.pod_spec(pods.container(job, wanted), ROOT, wanted, pods.grace_s)
    pod = build_pod_body("pod", None, None, {"DAGSTER_PIPES_CONTEXT": "x"}, {"labels": labels(job)}, spec)
    rendered: dict[str, Any] = kubernetes.client.ApiClient().sanitize_for_serialization(pod)
    return {"apiVersion": "v1", "kind": "Pod", **rendered}


def run_worker() -> dict[str, Any]:
    """The Job of a run, as dagster-k8s makes it of what the chart would write into dagster.yaml."""
    config = launcher_config(values())
    own = {name: config[name] for name in _OF_A_RUN}
    shared = {name: value for name, value in config.items() if name in _OF_A_CONTAINER}
    context = K8sContainerContext.create_from_config({"k8s": shared})
    job = construct_dagster_k8s_job(
        job_config=DagsterK8sJobConfig(**own),
        args=["dagster", "api", "execute_run"],
        job_name="dagster-run",
        user_defined_k8s_config=context.run_k8s_config,
        pod_name="dagster-run",
        component="run_worker",
        labels={"dagster/job": "unlearn_batch"},
    )
    rendered: dict[str, Any] = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    return rendered


def example() -> str:
    """infra/k8s/ray/rayjob.yaml: what a launch on three machines of two accelerators sends."""
    body = RayJobs(Cluster(gpus=2, nodes=3, namespace="unlearning")).body(_job("unlearned_checkpoint"), {})
    body["metadata"]["name"] = NAME
    head = "# What UNLEARNING_LAUNCHER=ray sends for three machines of two accelerators. Rendered, and held equal by\n"
    plain = json.loads(json.dumps(body))  # no YAML anchors
    return f"{head}# infra/validate.py: `python -m infra.validate --write`.\n{yaml.safe_dump(plain, sort_keys=False)}"


def _ray() -> Row:
    cluster = yaml.safe_load(example())["spec"]["rayClusterSpec"]
    templates = [cluster["headGroupSpec"]["template"], *(one["template"] for one in cluster["workerGroupSpecs"])]
    wrong = []
    for template in templates:
        pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "x"}}
        wrong += _faults(pod)
    if not EXAMPLE.is_file() or EXAMPLE.read_text(encoding="utf-8") != example():
        wrong.append(
            "infra/k8s/ray/rayjob.yaml is not what the launcher renders; run `python -m infra.validate --write`"
        )
    return Row("pods of a RayJob", f"rendered (3 machines), schema {VERSION} strict", tuple(wrong))


def _faults(pod: Mapping[str, Any]) -> list[str]:
    found = [schema_fault(pod), *pod_faults("pod", pod["spec"])]
    return [fault for fault in found if fault is not None]


def _job(stage: str) -> Job:
    return Job(stage, "demo-20261122t0200z", ROOT, Path("/app/params.yaml"))
