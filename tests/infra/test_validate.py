"""`make validate` finds nothing in what is kept, and finds each fault that is put in."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.validation import INFRA, containers, guide, helm, instances, kubernetes, launched, not_a_name

OBJECTS = [
    one
    for file in sorted((INFRA / "k8s" / "base").glob("*.yaml"))
    for one in yaml.safe_load_all(file.read_text())
    if one["kind"] in ("Deployment", "Service", "PersistentVolumeClaim")
]


def _versioned(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As kustomize gives them: images with a version."""
    text = yaml.safe_dump_all(objects)
    return list(yaml.safe_load_all(re.sub(r"image: (unlearning-\w+)", r"image: \1:1", text)))


def test_what_is_kept_is_right_and_what_was_not_run_is_said(repository: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "infra.validate"], cwd=repository, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    for never in ("helm template", "kubectl apply", "docker build", "KubeRay's own schema"):
        assert re.search(rf"{re.escape(never)}.*NOT RUN: \w+", done.stdout), never
    assert "pods of a RayJob" in done.stdout


def _pod(objects: list[dict[str, Any]], name: str) -> dict[str, Any]:
    [found] = [one for one in objects if one["kind"] == "Deployment" and one["metadata"]["name"] == name]
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert list(kubernetes.faults(_versioned(OBJECTS))) == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda o: _pod(o, "mlflow").update(securtyContext={}), "securtyContext"),
        (lambda o: _pod(o, "mlflow")["containers"][0].update(ports=[{"containerPort": "5000"}]), "5000"),
        (lambda o: _pod(o, "mlflow").pop("securityContext"), "nobody special"),
        (lambda o: _pod(o, "mlflow")["containers"][0].pop("securityContext"), "may gain rights"),
        (lambda o: _pod(o, "mlflow")["containers"][0].pop("resources"), "no limits"),
        (lambda o: _pod(o, "mlflow").pop("volumes"), "no volumes of it"),
        (lambda o: _pod(o, "mlflow")["containers"][0].update(image="registry.example/x/mlflow:1"), "names a registry"),
        (lambda o: _pod(o, "mlflow")["containers"][0].update(image="mlflow"), "has no version"),
        (lambda o: _pod(o, "intake")["volumes"][0]["persistentVolumeClaim"].update(claimName="x"), "no claim 'x'"),
        (lambda o: o.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}), "made by the site"),
        (lambda o: next(x for x in o if x["kind"] == "Service")["spec"].update(selector={"a": "b"}), "selects no pod"),
        (lambda o: o.append({"apiVersion": "v2", "kind": "Pod", "metadata": {"name": "p"}}), "no kind of Kubernetes"),
    ],
)
def test_a_fault_in_a_manifest_is_found(harm: Callable[[Any], Any], said: str) -> None:
    objects = _versioned(copy.deepcopy(OBJECTS))
    harm(objects)
    found = list(kubernetes.faults(objects))
    assert any(said in fault for fault in found), found


def test_what_a_launcher_renders_passes_the_schema_only_because_it_is_right() -> None:
    pod = launched._pod("unlearned_checkpoint", 4)
    assert kubernetes.schema_fault(pod) is None
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "4"
    pod["spec"]["containers"][0]["comand"] = []
    assert "comand" in str(kubernetes.schema_fault(pod))


def test_the_job_of_a_run_has_the_root_the_secret_and_no_second_attempt() -> None:
    job = launched.run_worker()
    spec = job["spec"]["template"]["spec"]
    assert job["spec"]["backoffLimit"] == 0
    assert spec["serviceAccountName"] == "unlearning-dagster"
    assert {"secretRef": {"name": "unlearning"}} in spec["containers"][0]["envFrom"]
    assert "/var/lib/unlearning" in [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda v: v.update(postgresq={}), "'postgresq' is no key"),
        (lambda v: v["postgresql"].pop("postgresqlScheme"), "postgresqlScheme"),
        (lambda v: v["postgresql"].update(enabled=True), "the site's"),
        (lambda v: v["dagsterWebserver"].update(enableReadOnly=False), "auditors"),
        (lambda v: v["dagsterDaemon"].update(image={"repository": "other", "tag": "1"}), "one version"),
        (lambda v: v["dagsterDaemon"]["runCoordinator"].update(config={"x": 1}), "both places"),
    ],
)
def test_a_fault_in_the_charts_values_is_found(harm: Callable[[Any], Any], said: str) -> None:
    values = copy.deepcopy(helm.values())
    harm(values)
    assert any(said in fault for fault in helm.faults(values))


def test_dagster_itself_judges_the_run_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    values = copy.deepcopy(helm.values())
    values["runLauncher"]["config"]["k8sRunLauncher"]["envSecret"] = []
    monkeypatch.setattr(helm, "values", lambda: values)
    first = next(helm.rows())
    assert any("env_secret" in fault for fault in first.wrong)


def test_a_mistyped_key_in_an_instance_file_is_found(tmp_path: Path) -> None:
    text = (INFRA / "dagster" / "dagster.postgres.yaml").read_text()
    (tmp_path / "bad.yaml").write_text(text.replace("telemetry:", "telemtry:"))
    assert any("telemtry" in fault for fault in instances.faults(tmp_path / "bad.yaml"))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda s: s["webserver"].update(ports=["3000:3000"]), "open to everybody"),
        (lambda s: s["intake"].pop("healthcheck"), "give it a healthcheck"),
        (lambda s: s["code"].update(volumes=["rot:/x"]), "no volume or file 'rot'"),
        (lambda s: s["intake"].update(image="unlearning-dagster:2"), "nobody builds"),
        (lambda s: s["daemon"].update(depends_on={"cod": {"condition": "service_healthy"}}), "no service"),
        (lambda s: s["minio"].update(image="minio/minio"), "no version"),
        (lambda s: s["trainer"]["build"].update(dockerfile="x"), "Dockerfile is not there"),
    ],
)
def test_a_fault_in_compose_is_found(harm: Callable[[Any], Any], said: str) -> None:
    given = yaml.safe_load(containers.COMPOSE.read_text())
    assert list(containers.compose_faults(given)) == []
    harm(given["services"])
    assert any(said in fault for fault in containers.compose_faults(given))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("USER 0", "another user"),
        ("RUN pip install torch", "takes what it gets"),
        ("ENV DB_PASSWORD=x", "would stay in a layer"),
        ("ARG BASE=registry.example/python:3.11", "names a registry"),
    ],
)
def test_a_fault_in_a_dockerfile_is_found(line: str, said: str) -> None:
    text = (INFRA / "docker" / "Dockerfile.trainer").read_text()
    assert list(containers.dockerfile_faults(text, set())) == []
    assert any(said in fault for fault in containers.dockerfile_faults(f"{text}\n{line}\n", set()))


def test_what_a_dockerfile_copies_is_there_and_seen() -> None:
    text = (INFRA / "docker" / "Dockerfile.trainer").read_text()
    assert {"unlearning", "pipelines", "infra/requirements/trainer.txt"} <= set(containers.sources(text))
    found = list(containers.dockerfile_faults(text, {"none", "tests"}))
    assert found == ["it copies 'none', which is not there", "it copies 'tests', which .dockerignore hides"]


def test_an_image_names_a_version_and_no_registry() -> None:
    assert [not_a_name(image) for image in ("a:1", "minio/minio:2")] == [None, None]
    assert all(not_a_name(image) for image in ("a", "a:latest", "host:5000/a:1", "x.org/a:1"))


def test_a_setting_that_the_guide_does_not_know_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = guide.GUIDE.read_text()
    monkeypatch.setattr(guide, "GUIDE", tmp_path / "README.md")
    lines = text.splitlines(keepends=True)
    guide.GUIDE.write_text("".join(line for line in lines if "UNLEARNING_K8S_QUEUE_S`" not in line))
    [row] = guide.rows()
    assert row.wrong
    guide.GUIDE.write_text(guide.written(guide.GUIDE.read_text()))
    [row] = guide.rows()
    assert not row.wrong
    guide.GUIDE.write_text("no table")
    [row] = guide.rows()
    assert row.wrong
