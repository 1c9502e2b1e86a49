"""DVC keeps what Dagster made: a real project, the real command, a batch whose checkpoints are only bytes."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.dvc import VARS, DvcProject
from pipelines.resources.dvc import Dvc
from tests.pipelines import dvc_project
from tests.toy_batch import fake_training, file_requests, manifests, request_body, request_id
from unlearning import files
from unlearning.errors import StorageError
from unlearning.log import silent
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.verbs import certify
from unlearning.workspace import Workspace

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def executable(repository: Path) -> Path:
    return dvc_project.command(repository)


@pytest.fixture(scope="module")
def project(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dvc_project.made(tmp_path_factory.mktemp("project"), repository)


@pytest.fixture
def dvc(project: Path, executable: Path) -> Command:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(executable), *words], cwd=project, capture_output=True, text=True)

    return call


def test_status_is_clean_and_repro_skips_every_stage(dvc: Command, project: Path) -> None:
    assert "Data and pipelines are up to date." in dvc("status").stdout
    before = {path: path.stat().st_mtime_ns for path in (project / "var" / "batches").rglob("*") if path.is_file()}
    again = dvc("repro")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("didn't change, skipping") == len(STAGES)
    assert "Running stage" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_everything_is_in_the_remote_and_comes_back(dvc: Command, project: Path) -> None:
    weights = project / "var" / "batches" / "b1" / "unlearned_checkpoint" / "model.safetensors"
    content = weights.read_bytes()
    shutil.rmtree(project / "var" / "dvc" / "cache")
    shutil.rmtree(weights.parent)
    pulled = dvc("pull")
    assert pulled.returncode == 0, pulled.stderr
    assert weights.read_bytes() == content


def test_dvc_lock_is_read_as_yaml(project: Path) -> None:
    kept = DvcProject(project, ".venv-dvc/bin/dvc")
    md5 = kept.md5(project / "var" / "batches" / "b1" / "forget_manifest")
    assert md5 is not None
    assert md5.endswith(".dir")
    assert kept.md5(project / "var" / "batches" / "b1" / "nothing") is None


def test_a_changed_parameter_is_seen(dvc: Command, project: Path) -> None:
    before = (project / "params.yaml").read_text()
    tree = yaml.safe_load(before)
    tree["unlearn"]["budget"]["steps"] += 1
    (project / "params.yaml").write_text(yaml.safe_dump(tree))
    said = dvc("status").stdout
    (project / "params.yaml").write_text(before)
    assert "deletion_plan@b1" in said  # from which unlearned_checkpoint has it
    assert "original_checkpoint@b1" not in said


def test_a_new_batch_joins_the_list_once_and_the_comments_stay(project: Path, dvc: Command) -> None:
    batch = _second(project)
    said = Dvc(project=str(project)).keep(project / "var", project / "params.yaml", batch, list(STAGES))
    text = (project / VARS).read_text()
    assert said == "committed"
    assert yaml.safe_load(text)["batches"] == ["b1", "b2"]
    assert text.startswith("# What dvc.yaml is filled with.")
    assert not DvcProject(project, "dvc").adopt("b2")
    assert "b2" not in dvc("status").stdout


def _second(project: Path) -> str:
    params, workspace = Params.read(project / "params.yaml"), Workspace(project / "var")
    other = [{"class": "circle", "approved_by": "privacy-officer"}]
    file_requests(workspace, request_body(request_id=request_id(2), selectors=other))
    batch = workspace.batch("b2")
    manifests(params, batch)
    fake_training(params, batch)
    certify.run(params, batch, silent)
    return batch.key


def test_what_dvc_does_not_keep_is_said_in_a_sentence(project: Path, tmp_path: Path) -> None:
    kept = DvcProject(project, ".venv-dvc/bin/dvc")
    params = project / "params.yaml"
    assert kept.absence(project / "var", params) is None
    assert "dvc.yaml keeps var/" in str(kept.absence(tmp_path, params))
    assert "dvc.yaml tracks params.yaml" in str(kept.absence(project / "var", tmp_path / "faces.yaml"))
    assert "`make setup`" in str(DvcProject(project, "no-such-dvc").absence(project / "var", params))
    assert Dvc(enabled=False).keep(project / "var", params, "b1", ["certificate"]) == "switched off"


def test_a_held_lock_is_waited_for_and_then_named(project: Path) -> None:
    lock = project / ".dvc" / "tmp" / "rwlock.lock"
    impatient = DvcProject(project, ".venv-dvc/bin/dvc", wait_s=0.0)
    with (project / ".dvc" / "tmp" / "lock").open("a") as first, lock.open("a") as second:
        fcntl.lockf(first, fcntl.LOCK_EX)
        fcntl.lockf(second, fcntl.LOCK_EX)
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match=r"(?i)lock"):
            impatient.commit("b1", ["certificate"])


def test_two_runs_keep_in_turn(tmp_path: Path, repository: Path) -> None:
    """DVC gives up where another DVC works; whoever comes second waits before it asks."""
    for name in ("dvc.yaml", str(VARS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, tmp_path / name)
    command = tmp_path / ".venv-dvc" / "bin" / "dvc"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\necho "$@" >> asked\n')
    command.chmod(0o755)
    said: list[str] = []
    kept = Dvc(project=str(tmp_path))
    second = threading.Thread(
        target=lambda: said.append(kept.keep(tmp_path / "var", tmp_path / "params.yaml", "b1", ["certificate"]))
    )
    with files.locked(tmp_path / ".dvc" / "tmp" / "kept.lock", "dvc.lock"):
        second.start()
        second.join(0.3)
        assert second.is_alive()
        assert not (tmp_path / "asked").exists()
    second.join()
    assert said == ["committed"]
    assert (tmp_path / "asked").read_text() == "commit --force certificate@b1\n"
