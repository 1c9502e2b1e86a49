"""A cluster of one machine, this one: a pod is a process with the very words and variables of its spec."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes
import pytest
import yaml
from dagster_k8s.client import DagsterKubernetesClient
from kubernetes.client import ApiException

# What the kubelet gives a process, and nothing of the Dagster process; the hook stands for the image.
_FROM_THE_IMAGE = ("PATH", "PYTHONPATH", "TEST_WISH", "TEST_TOLD", "OMP_NUM_THREADS")


@dataclass
class ToyCluster:
    """CoreV1Api as far as a launcher uses it."""

    unschedulable: bool = False
    evicts: bool = False
    denies: bool = False
    pods: dict[str, Any] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def create_namespaced_pod(self, namespace: str, pod: Any) -> None:
        if self.denies:
            denied = ApiException(status=403, reason="Forbidden")
            denied.body = '{"message": "exceeded quota: gpus"}'
            raise denied
        body = kubernetes.client.ApiClient().sanitize_for_serialization(pod)
        self.created.append({**body, "namespace": namespace})
        name = body["metadata"]["name"]
        self.pods[name] = body
        if not (self.unschedulable or self.evicts):
            self.running[name] = self._start(body["spec"]["containers"][0])

    def list_namespaced_pod(self, namespace: str, field_selector: str = "", label_selector: str = "") -> Any:
        if label_selector:
            return SimpleNamespace(items=[self._listed(name) for name in self.pods if self._has(name, label_selector)])
        name = field_selector.removeprefix("metadata.name=")
        process = self.running.get(name)
        if process is not None and name in self.deleted and process.poll() is not None:
            self.pods.pop(name, None)
        return SimpleNamespace(items=[self._status(name)] if name in self.pods else [])

    def delete_namespaced_pod(self, name: str, namespace: str) -> None:
        if name not in self.pods:
            raise ApiException(status=404, reason="Not Found")
        self.deleted.append(name)
        if name not in self.running:
            self.pods.pop(name)
        elif self.running[name].poll() is None:
            self.running[name].terminate()

    def _start(self, container: dict[str, Any]) -> subprocess.Popen[bytes]:
        image = {name: os.environ[name] for name in _FROM_THE_IMAGE if name in os.environ}
        given = {one["name"]: one["value"] for one in container["env"]}
        python, *words = container["command"]
        assert python == "python"
        return subprocess.Popen([sys.executable, *words], env={**image, **given})

    def _has(self, name: str, selector: str) -> bool:
        labels = self.pods[name]["metadata"]["labels"]
        return all(labels.get(key) == value for key, _, value in (one.partition("=") for one in selector.split(",")))

    def _listed(self, name: str) -> Any:
        return SimpleNamespace(metadata=SimpleNamespace(name=name, labels=self.pods[name]["metadata"]["labels"]))

    def _status(self, name: str) -> Any:
        if self.evicts:
            return _pod("Failed", [], reason="Evicted")
        if self.unschedulable:
            return _pod("Pending", None, conditions=[SimpleNamespace(status="False", reason="Unschedulable")])
        code = self.running[name].poll()
        if code is None:
            return _pod("Running", [_container(running=SimpleNamespace())])
        ended = SimpleNamespace(exit_code=code % 256, reason="OOMKilled" if code == -9 else "Error", message=None)
        return _pod("Failed" if code else "Succeeded", [_container(terminated=ended)])


def _container(running: Any = None, terminated: Any = None) -> Any:
    return SimpleNamespace(
        name="trainer", ready=True, state=SimpleNamespace(running=running, terminated=terminated, waiting=None)
    )


def _pod(phase: str, containers: Any, reason: str | None = None, conditions: Any = None) -> Any:
    status = {"phase": phase, "reason": reason, "conditions": conditions, "init_container_statuses": None}
    return SimpleNamespace(
        metadata=SimpleNamespace(name="x"), status=SimpleNamespace(**status, container_statuses=containers)
    )


@dataclass
class ToyRay:
    """dagster-ray's client of the RayJob object; a RayJob is a process too."""

    image: Path  # what its processes find on PYTHONPATH
    whole: bool = False  # run the entrypoint itself, not only the words that it would hand on
    created: list[dict[str, Any]] = field(default_factory=list)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def create(self, body: dict[str, Any], namespace: str) -> None:
        assert namespace == body["metadata"]["namespace"]
        self.created.append(body)
        _, *words = shlex.split(body["spec"]["entrypoint"])
        words = words if self.whole else ["-m", *words[words.index("--") + 1 :]]
        image = {name: os.environ[name] for name in _FROM_THE_IMAGE if name in os.environ}
        path = os.pathsep.join([str(self.image), image["PYTHONPATH"]])
        given = yaml.safe_load(body["spec"]["runtimeEnvYAML"])["env_vars"]
        process = subprocess.Popen([sys.executable, *words], env={**image, "PYTHONPATH": path, **given})
        self.running[body["metadata"]["name"]] = process

    def list(self, namespace: str, label_selector: str) -> dict[str, Any]:
        return {"items": [body for body in self.created if body["metadata"]["name"] in self.running]}

    def get(self, name: str, namespace: str) -> dict[str, Any]:
        if name not in self.running:
            return {}
        code = self.running[name].poll()
        said = "RUNNING" if code is None else "FAILED" if code else "SUCCEEDED"
        return {"status": {"jobStatus": said, "jobDeploymentStatus": "Running"}}

    def delete(self, name: str, namespace: str) -> None:
        self.deleted.append(name)
        process = self.running.pop(name)
        process.terminate()
        process.wait()


# Ray as far as pipelines/ray_ranks.py uses it: a remote function is a thread.
_RAY = """
import concurrent.futures, sys, types
_threads = concurrent.futures.ThreadPoolExecutor(8)

class _Remote:
    def __init__(self, function): self.function = function
    def remote(self, *words): return _threads.submit(self.function, *words)

def init(address): assert address == "auto"
def remote(**where): return _Remote
def get(future): return future.result() if hasattr(future, "result") else future
def wait(futures, num_returns):
    done, _ = concurrent.futures.wait(futures, return_when="FIRST_COMPLETED")
    first = next(one for one in futures if one in done)
    return [first], [one for one in futures if one is not first]

class _Group:
    def __init__(self, bundles, strategy): assert strategy == "STRICT_SPREAD"
    def ready(self): return True

util = types.ModuleType("ray.util")
util.get_node_ip_address = lambda: "127.0.0.1"
util.placement_group = types.ModuleType("ray.util.placement_group")
util.placement_group.placement_group = _Group
util.scheduling_strategies = types.ModuleType("ray.util.scheduling_strategies")
util.scheduling_strategies.PlacementGroupSchedulingStrategy = lambda group, placement_group_bundle_index: None
for module in (util, util.placement_group, util.scheduling_strategies):
    sys.modules[module.__name__] = module
"""


@pytest.fixture(name="rays")
def toy_rays(cluster: ToyCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ToyRay:
    """Put where dagster-ray would make its client."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "ray.py").write_text(_RAY)
    toy = ToyRay(tmp_path / "image")
    monkeypatch.setattr("pipelines.resources.rayjobs.RayJobClient", lambda: toy)
    return toy


@pytest.fixture(name="cluster")
def toy_cluster(monkeypatch: pytest.MonkeyPatch, repository: Path) -> Iterator[ToyCluster]:
    """Put where dagster-k8s would find its API server."""
    toy = ToyCluster()
    client = DagsterKubernetesClient(SimpleNamespace(), toy, lambda _: None, lambda _: None, lambda: 0.0)
    monkeypatch.setattr(DagsterKubernetesClient, "production_client", lambda: client)
    monkeypatch.setattr(kubernetes.config, "load_kube_config", lambda **_: None)
    hook = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(repository), hook])))
    monkeypatch.setenv("UNLEARNING_K8S_POLL_S", "0.05")
    monkeypatch.setenv("UNLEARNING_K8S_NAMESPACE", "toys")
    yield toy
    for process in toy.running.values():
        process.kill()
        process.wait()
