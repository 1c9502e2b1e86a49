"""One pod a job, by dagster-k8s's Pipes client: the same words as on this machine, on a machine with accelerators.

`PipesK8sClient` waits a day for a pod that was evicted, and says of a dead one only what its log says. So this client
watches the pod itself, where the base would read its log, and leaves creating and deleting to the base.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster_k8s import PipesK8sClient
from dagster_k8s.client import DagsterKubernetesClient
from dagster_k8s.utils import detect_current_namespace
from kubernetes.client import ApiException

from pipelines.resources import mailbox
from pipelines.resources.cluster import Cluster, environment
from pipelines.resources.compute import Job, StudyJob, quiet, together
from unlearning.errors import UnlearningError

CONTAINER = "trainer"
RUN = "unlearning/run"  # label: the Dagster run that waits for this pod


@dataclass(frozen=True, slots=True)
class KubernetesPods:
    """On a cluster: one pod with `cluster.gpus` accelerators, and a process for each."""

    cluster: Cluster = field(default_factory=Cluster)
    grace_s: float = 60.0  # from the request to stop until the kill

    def __call__(self, context: dg.AssetExecutionContext, job: Job | StudyJob) -> None:
        """See Launcher."""
        gpus = self.gpus(job)
        with mailbox.opened(job.root) as box, quiet():
            client = _Watched(job, self.cluster, self.grace_s, box)
            try:
                client.end_orphans(context)
                client.run(
                    context=context,
                    namespace=self.cluster.namespace,
                    env=dict(job.env),
                    base_pod_spec=self.cluster.pod_spec(self.container(job, gpus), job.root, gpus, self.grace_s),
                    base_pod_meta={"labels": {**labels(job), RUN: context.run.run_id}},
                    pod_wait_timeout=0,  # _Watched waits, with limits of its own
                )
            except (dg.Failure, ApiException) as error:
                refused = box.refusal()
                if refused is not None:
                    raise UnlearningError(refused) from error
                raise failure(job, error) from error
            finally:
                client.await_gone()

    def gpus(self, job: Job | StudyJob) -> int:
        """Accelerators of the job: what does not train together cannot use a second one."""
        return self.cluster.gpus if together(job) else min(1, self.cluster.gpus)

    def container(self, job: Job | StudyJob, gpus: int) -> dict[str, Any]:
        """The container of the job: the words of a local launch."""
        many = ["--processes", str(gpus)] if gpus > 1 else []
        return {
            "name": CONTAINER,
            "command": ["python", "-m", job.module, *job.words, *many],
            "env": list(environment({})),
        }


class _Watched(PipesK8sClient):
    """Waits for the pod to end: a beat now and then, a limit on the queue, a sentence for every end."""

    def __init__(self, job: Job | StudyJob, cluster: Cluster, grace_s: float, box: mailbox.Mailbox) -> None:
        super().__init__(message_reader=box, poll_interval=cluster.poll_s)
        self.job, self.cluster, self.grace_s = job, cluster, grace_s
        self._created: tuple[Any, str, str] | None = None

    def end_orphans(self, context: dg.AssetExecutionContext) -> None:
        """End pods of this stage and batch whose run was killed: nobody waits for them, and they hold its lock."""
        self._load_k8s_config()  # type: ignore[no-untyped-call]
        core = DagsterKubernetesClient.production_client().core_api  # type: ignore[no-untyped-call]
        namespace = self.cluster.namespace or detect_current_namespace(self.kubeconfig_file) or "default"
        found = core.list_namespaced_pod(namespace=namespace, label_selector=selector(self.job)).items
        for pod in (one for one in found if orphaned(context, one.metadata.labels)):
            context.log.warning(f"{self.job.stage}: ending pod {pod.metadata.name}, which a killed run left behind")
            core.delete_namespaced_pod(pod.metadata.name, namespace)
            self._await_gone(core, namespace, pod.metadata.name)

    @contextmanager
    def consume_pod_logs(
        self,
        context: Any,
        client: DagsterKubernetesClient,
        namespace: str,
        pod_name: str,
        enable_multi_container_logs: bool = False,
        ignore_containers: Set[str] | None = None,
    ) -> Iterator[None]:
        """Called by the base once the pod is created; it waits for what is left, which is nothing."""
        self._created = (client.core_api, namespace, pod_name)
        self._watch(lambda: _read(client.core_api, namespace, pod_name))
        yield

    def _watch(self, look: Callable[[], Any]) -> None:
        asked = time.monotonic()
        while True:
            pod = look()
            if pod is None:
                raise dg.Failure(f"{self.job.stage}: the pod was deleted by somebody else before it ended")
            if pod.status.phase == "Succeeded":
                return
            if pod.status.phase == "Failed":
                raise dg.Failure(f"{self.job.stage}: {_end_of(pod)}")
            if not _started(pod) and time.monotonic() - asked > self.cluster.queue_s:
                raise dg.Failure(
                    f"{self.job.stage}: the pod did not start within {self.cluster.queue_s:g} s ({_waits_for(pod)}); "
                    "give it a node or an image it can have, or raise UNLEARNING_K8S_QUEUE_S"
                )
            self.job.beat()
            time.sleep(self.cluster.poll_s)

    def await_gone(self) -> None:
        """Wait until the deleted pod has saved and left: whoever runs next must not meet its lock."""
        if self._created is not None:
            self._await_gone(*self._created)

    def _await_gone(self, core: Any, namespace: str, name: str) -> None:
        deadline = time.monotonic() + self.grace_s + 30.0
        while time.monotonic() < deadline and _read(core, namespace, name) is not None:
            time.sleep(min(1.0, self.cluster.poll_s))


def failure(job: Job | StudyJob, error: Exception) -> BaseException:
    """What the launch ends with. Deleting a pod that is gone must hide neither its end nor a request to stop."""
    if not isinstance(error, ApiException):
        return error
    hidden: BaseException | None = error.__context__
    if error.status == 404 and hidden is not None:
        return hidden
    try:
        said = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        said = error.reason
    return dg.Failure(f"{job.stage}: the cluster answered {error.status}: {said}")


def labels(job: Job | StudyJob) -> dict[str, str]:
    """What a person sees of the pod: the stage and the batch, never a request."""
    return {
        "app.kubernetes.io/part-of": "unlearning",
        "app.kubernetes.io/component": "trainer",
        "unlearning/stage": job.stage,
        "unlearning/batch": _label(job.batch if isinstance(job, Job) else job.name),
    }


def selector(job: Job | StudyJob) -> str:
    """Finds what was launched for the same stage of the same batch, by whichever run."""
    return ",".join(f"{name}={value}" for name, value in labels(job).items())


def orphaned(context: dg.AssetExecutionContext, given: Mapping[str, str]) -> bool:
    """Whether the run that launched it no longer waits: it ended, or it is this one, which waits for nothing yet."""
    if given.get(RUN) == context.run.run_id:
        return True
    run = context.instance.get_run_by_id(given.get(RUN, ""))
    return run is None or run.is_finished


def _label(value: str) -> str:
    """At most 63 characters, of which the last is a letter or a digit."""
    return re.sub(r"[^A-Za-z0-9]+$", "", value[:63])


def _read(core: Any, namespace: str, name: str) -> Any:
    found = core.list_namespaced_pod(namespace=namespace, field_selector=f"metadata.name={name}").items
    return found[0] if found else None


def _started(pod: Any) -> bool:
    return any(one.state.running or one.state.terminated for one in pod.status.container_statuses or [])


def _waits_for(pod: Any) -> str:
    reasons = [one.state.waiting.reason for one in pod.status.container_statuses or [] if one.state.waiting]
    conditions = [one.reason for one in pod.status.conditions or [] if one.status == "False"]
    return ", ".join(filter(None, [*reasons, *conditions])) or f"phase {pod.status.phase}"


def _end_of(pod: Any) -> str:
    """Why a pod failed. Its last words go to stderr alone: Dagster's event log cannot be erased."""
    ended = [one.state.terminated for one in pod.status.container_statuses or [] if one.state and one.state.terminated]
    if not ended:
        return f"the pod ended without its process ({pod.status.reason or 'no reason given'})"
    if ended[0].message:
        sys.stderr.write(f"{ended[0].message}\n")
    why = ended[0].reason if ended[0].reason not in (None, "Error") else pod.status.reason
    return (
        f"the pod ended with exit code {ended[0].exit_code}{f' ({why})' if why else ''}; its last words are in stderr"
    )
