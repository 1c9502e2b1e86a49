"""Kubernetes objects against the published schema of the API, unknown fields refused, and against our own rules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import kubernetes_validate
import yaml

from infra.validation import HOUSE, INFRA, Row, not_a_name

VERSION = "1.33"
MANIFESTS = INFRA / "k8s"


def rows() -> Iterator[Row]:
    """Every overlay as a cluster would get it; the files one by one where kustomize is absent."""
    kubectl = shutil.which("kubectl")
    for overlay in sorted((MANIFESTS / "overlays").iterdir()):
        what = f"k8s/overlays/{overlay.name}"
        if kubectl is None:
            yield Row(what, "kubectl kustomize", why_not="no kubectl")
            continue
        built = subprocess.run([kubectl, "kustomize", str(overlay)], capture_output=True, text=True, check=False)
        if built.returncode != 0:
            yield Row(what, "kubectl kustomize", (built.stderr.strip(),))
            continue
        objects = [one for one in yaml.safe_load_all(built.stdout) if one]
        yield Row(what, f"kustomize, schema {VERSION} strict: {len(objects)} objects", tuple(faults(objects)))
    if kubectl is None:
        for file in sorted(MANIFESTS.rglob("*.yaml")):
            if file.name != "kustomization.yaml" and file.parent.name != "ray":
                objects = [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one]
                yield Row(str(file.relative_to(HOUSE)), f"schema {VERSION} strict", tuple(schema_faults(objects)))
    yield Row("k8s on a cluster", "kubectl apply", why_not="no cluster")


def faults(objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with the objects of one namespace."""
    yield from schema_faults(objects)
    accounts = {one["metadata"]["name"] for one in objects if one["kind"] == "ServiceAccount"}
    claims = {one["metadata"]["name"] for one in objects if one["kind"] == "PersistentVolumeClaim"}
    pods = [(named(one), pod) for one in objects for pod in _pod_specs(one)]
    for name, spec in pods:
        yield from pod_faults(name, spec)
        bound = [one["persistentVolumeClaim"] for one in spec.get("volumes", []) if "persistentVolumeClaim" in one]
        for claim in bound:
            if claim["claimName"] not in claims:
                yield f"{name}: there is no claim {claim['claimName']!r}"
    for one in objects:
        if one["kind"] == "Secret":
            yield f"{named(one)}: secrets are made by the site, not kept here"
        if one["kind"] == "RoleBinding":
            for subject in one["subjects"]:
                if subject["name"] not in accounts or subject.get("namespace") != one["metadata"]["namespace"]:
                    yield f"{named(one)}: its subject {subject['name']!r} is no account of this namespace"
        if one["kind"] == "Service" and not _selected(one["spec"]["selector"], objects):
            yield f"{named(one)}: it selects no pod"


def schema_faults(objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the schema of the API says of each."""
    for one in objects:
        fault = schema_fault(one)
        if fault is not None:
            yield f"{named(one)}: {fault}"


def schema_fault(one: Mapping[str, Any]) -> str | None:
    """What the schema of the API says, unknown fields refused; None where nothing."""
    try:
        kubernetes_validate.validate(one, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.utils.SchemaNotFoundError:
        return f"{one.get('apiVersion')} {one.get('kind')} is no kind of Kubernetes {VERSION}"
    return None


def pod_faults(name: str, spec: Mapping[str, Any]) -> Iterator[str]:
    """The profile `restricted`, limits, versions, and no token for what needs none."""
    profile = spec.get("securityContext") or {}
    if profile.get("runAsNonRoot") is not True or (profile.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        yield f"{name}: a pod runs as nobody special, with the runtime's seccomp profile"
    for container in spec["containers"]:
        fault = not_a_name(container["image"])
        if fault is not None:
            yield f"{name}: {fault}"
        own = container.get("securityContext") or {}
        dropped = (own.get("capabilities") or {}).get("drop", [])
        if own.get("allowPrivilegeEscalation") is not False or "ALL" not in dropped:
            yield f"{name}: container {container['name']!r} may gain rights; drop ALL and forbid escalation"
        if not {"cpu", "memory"} <= set((container.get("resources") or {}).get("limits", {})):
            yield f"{name}: container {container['name']!r} has no limits of cpu and memory"
        missing = {m["name"] for m in container.get("volumeMounts", [])} - {v["name"] for v in spec.get("volumes", [])}
        if missing:
            yield f"{name}: it mounts {sorted(missing)}, which are no volumes of it"


def named(one: Mapping[str, Any]) -> str:
    """As a person would call it."""
    return f"{one.get('kind')}/{(one.get('metadata') or {}).get('name')}"


def _pod_specs(one: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    spec = one.get("spec") or {}
    if one["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    if "template" in spec:
        yield spec["template"]["spec"]


def _selected(selector: Mapping[str, str], objects: Sequence[Mapping[str, Any]]) -> bool:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in objects if one["kind"] == "Deployment"]
    return any(selector.items() <= given.items() for given in labels)
