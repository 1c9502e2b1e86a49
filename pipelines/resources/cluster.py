"""What a compute process needs of a cluster: one object, every field replaceable, and the pod that follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

USER = 10001  # of both images: files of the root belong to it
CODE = "/app"  # where both images hold the code

_RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


class Cluster(BaseSettings):
    """`UNLEARNING_K8S_IMAGE=trainer:1 UNLEARNING_K8S_GPUS=4 …` replaces a field; objects and lists are JSON."""

    model_config = SettingsConfigDict(env_prefix="UNLEARNING_K8S_", frozen=True, extra="forbid")

    image: str = Field("unlearning-trainer:0.1.0", description="image of the compute process (Dockerfile.trainer)")
    namespace: str | None = Field(None, description="namespace of the pods; default: the run's own, else `default`")
    service_account: str = Field("unlearning-trainer", description="service account of the pods; needs no rights")
    root_claim: str = Field("unlearning-root", description="claim (ReadWriteMany) that holds the root")
    gpus: int = Field(1, ge=0, le=64, description="accelerators a pod; one process each, as under torchrun")
    gpu_resource: str = Field("nvidia.com/gpu", description="the resource name of an accelerator")
    nodes: int = Field(1, ge=1, le=1024, description="machines of one training under the ray launcher")
    cpu: str = Field("4", description="processor cores a pod, a Kubernetes quantity")
    memory: str = Field("32Gi", description="memory a pod, a Kubernetes quantity; request and limit")
    shm: str = Field("8Gi", description="limit of /dev/shm, in memory; NCCL needs more than the usual 64Mi")
    node_selector: dict[str, str] = Field({}, description='e.g. {"pool": "gpu"}')
    tolerations: list[dict[str, Any]] = Field(
        [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}], description="taints the pods bear"
    )
    secrets: list[str] = Field([], description="secrets whose keys become environment variables of the pod")
    deadline_s: int = Field(86_400, ge=60, description="longest life of a pod, seconds (activeDeadlineSeconds)")
    queue_s: float = Field(3_600.0, gt=0, description="longest wait for a node and an image, seconds")
    poll_s: float = Field(5.0, gt=0, description="between two looks at a pod, seconds")

    def pod_spec(self, container: Mapping[str, Any], root: Path, gpus: int, grace_s: float) -> dict[str, Any]:
        """A pod spec around `container` (name, command, env), the root at its own path, nothing it does not need."""
        resources: dict[str, str] = {"cpu": self.cpu, "memory": self.memory}
        if gpus:
            resources[self.gpu_resource] = str(gpus)
        mounts = {"root": str(root), "shm": "/dev/shm", "tmp": "/tmp"}
        return {
            "restartPolicy": "Never",  # a crash is Dagster's to see, and its retry resumes
            "serviceAccountName": self.service_account,
            "automountServiceAccountToken": False,
            "activeDeadlineSeconds": self.deadline_s,
            "terminationGracePeriodSeconds": math.ceil(grace_s),
            "nodeSelector": self.node_selector,
            "tolerations": self.tolerations if gpus else [],
            "securityContext": security(),
            "containers": [
                {
                    "image": self.image,
                    "workingDir": CODE,
                    "envFrom": [{"secretRef": {"name": name}} for name in self.secrets],
                    "resources": {"requests": resources, "limits": resources},
                    "securityContext": _RESTRICTED,
                    "terminationMessagePolicy": "FallbackToLogsOnError",  # the pod is deleted, its last words are not
                    "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
                    **container,
                }
            ],
            "volumes": [
                {"name": "root", "persistentVolumeClaim": {"claimName": self.root_claim}},
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": self.shm}},
                {"name": "tmp", "emptyDir": {}},
            ],
        }


def security() -> dict[str, Any]:
    """The pod's security context: the restricted profile, and files that both images may write."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def environment(variables: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """As a container takes it. HOME is writable, and so are the caches that libraries put there."""
    return [{"name": name, "value": value} for name, value in {"HOME": "/tmp", **variables}.items()]
