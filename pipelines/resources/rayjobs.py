"""Training on several machines: a KubeRay RayJob a job, whose entrypoint starts one torchrun agent a machine.

Ray places the agents and carries nothing else; the gradients go through torch.distributed. dagster-ray's client of the
RayJob object is used, and not its Pipes client, which talks to Ray's dashboard and so wants Ray in the image of
Dagster: messages come through the mailbox on the root, and stopping is deleting the RayJob.
"""

from __future__ import annotations

import shlex
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster_k8s.utils import detect_current_namespace
from dagster_ray.kuberay.client import RayJobClient
from kubernetes.client import ApiException

from pipelines.resources import mailbox
from pipelines.resources.cluster import Cluster, environment
from pipelines.resources.compute import Job, StudyJob, quiet, together
from pipelines.resources.pods import RUN, KubernetesPods, failure, labels, orphaned, selector
from unlearning.errors import UnlearningError

_ENDED_BADLY = {"FAILED", "STOPPED"}
_REFUSED_BY_KUBERAY = {"Failed", "ValidationFailed"}


@dataclass(frozen=True, slots=True)
class RayJobs:
    """What trains together on `cluster.nodes` machines; everything else in one pod, as KubernetesPods has it."""

    cluster: Cluster = field(default_factory=Cluster)
    grace_s: float = 60.0

    def __call__(self, context: dg.AssetExecutionContext, job: Job | StudyJob) -> None:
        """See Launcher."""
        if not together(job):
            KubernetesPods(self.cluster, self.grace_s)(context, job)
            return
        with mailbox.opened(job.root) as box, quiet():
            try:
                with dg.open_pipes_session(context, dg.PipesEnvContextInjector(), box) as session:
                    body = self.body(job, {**job.env, **session.get_bootstrap_env_vars()})
                    body["metadata"]["labels"][RUN] = context.run.run_id
                    self._run(context, job, body)
            except (dg.Failure, ApiException) as error:
                refused = box.refusal()
                if refused is not None:
                    raise UnlearningError(refused) from error
                raise failure(job, error) from error

    def body(self, job: Job | StudyJob, env: Mapping[str, str]) -> dict[str, Any]:
        """The RayJob: a head that computes too, and the other machines as one group of workers."""
        cluster = self.cluster
        words = ["--nodes", str(cluster.nodes), "--gpus", str(cluster.gpus), "--", job.module, *job.words]
        others = cluster.nodes - 1
        workers = {
            "groupName": "workers",
            "replicas": others,
            "minReplicas": others,
            "maxReplicas": others,
            "rayStartParams": {},
            "template": self._template(job, env),
        }
        return {
            "apiVersion": "ray.io/v1",
            "kind": "RayJob",
            "metadata": {
                "name": f"unlearning-{uuid.uuid4().hex[:12]}",
                "namespace": cluster.namespace or detect_current_namespace(None) or "default",
                "labels": labels(job),
            },
            "spec": {
                "entrypoint": shlex.join(["python", "-m", "pipelines.ray_ranks", *words]),
                "runtimeEnvYAML": yaml.safe_dump({"env_vars": dict(env)}),
                "submissionMode": "HTTPMode",  # the operator submits: no pod that the namespace's profile would refuse
                "shutdownAfterJobFinishes": True,
                "ttlSecondsAfterFinished": 0,
                "activeDeadlineSeconds": cluster.deadline_s,
                "backoffLimit": 0,  # a crash is Dagster's to see, and its retry resumes
                "rayClusterSpec": {
                    "headGroupSpec": {
                        "rayStartParams": {"dashboard-host": "0.0.0.0"},
                        "template": self._template(job, env),
                    },
                    "workerGroupSpecs": [workers] if others else [],
                },
            },
        }

    def _template(self, job: Job | StudyJob, env: Mapping[str, str]) -> dict[str, Any]:
        container = {"name": "ray", "env": list(environment({}))}
        spec = self.cluster.pod_spec(container, Path(job.root), self.cluster.gpus, self.grace_s)
        # KubeRay counts the deadline of the job itself, and restarts no pod of a job that ended.
        del spec["activeDeadlineSeconds"]
        return {"metadata": {"labels": labels(job)}, "spec": spec}

    def _run(self, context: dg.AssetExecutionContext, job: Job | StudyJob, body: dict[str, Any]) -> None:
        client = RayJobClient()
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        for left in client.list(namespace, selector(job)).get("items", []):
            if orphaned(context, left["metadata"]["labels"]):
                context.log.warning(f"{job.stage}: ending a RayJob that a killed run left behind")
                self._end(client, left["metadata"]["name"], namespace)
        client.create(body, namespace)
        try:
            self._wait(client, job, name, namespace)
        finally:
            self._end(client, name, namespace)

    def _wait(self, client: RayJobClient, job: Job | StudyJob, name: str, namespace: str) -> None:
        asked = time.monotonic()
        while True:
            found = client.get(name, namespace)
            if not found:
                raise dg.Failure(f"{job.stage}: the RayJob was deleted by somebody else before it ended")
            status = found.get("status") or {}
            said, deployment = status.get("jobStatus"), status.get("jobDeploymentStatus")
            if said == "SUCCEEDED":
                return
            if said in _ENDED_BADLY or deployment in _REFUSED_BY_KUBERAY:
                sys.stderr.write(f"{status.get('message', '')}\n")
                why = status.get("reason") or said or deployment
                raise dg.Failure(f"{job.stage}: the RayJob ended ({why}); its last words are in stderr")
            if said is None and time.monotonic() - asked > self.cluster.queue_s:
                raise dg.Failure(
                    f"{job.stage}: the RayJob had not started after {self.cluster.queue_s:g} s ({deployment}); "
                    "give it the nodes it asks for, or raise UNLEARNING_K8S_QUEUE_S"
                )
            job.beat()
            time.sleep(self.cluster.poll_s)

    def _end(self, client: RayJobClient, name: str, namespace: str) -> None:
        """Delete the object, and with it every pod; wait until it is gone, so that the next run meets no lock."""
        try:
            client.delete(name, namespace)
        except ApiException as error:
            if error.status != 404:
                raise
        deadline = time.monotonic() + self.grace_s + 30.0
        while time.monotonic() < deadline and client.get(name, namespace):
            time.sleep(min(1.0, self.cluster.poll_s))
