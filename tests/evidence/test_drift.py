"""How far a served model is from its base: against a closed form, and closed where nothing can be known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.toy_batch import file_requests, manifests, request_body, toy_params, toy_workspace
from unlearning import files
from unlearning.evidence import drift, plan, promotion
from unlearning.evidence.drift import Start
from unlearning.evidence.promotion import Champion
from unlearning.log import silent
from unlearning.policy import Drifted
from unlearning.verbs import plan as verb
from unlearning.workspace import Workspace


def weights(folder: Path, scale: float, **more: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    tensors = {"w": rng.normal(size=(3, 4)).astype(np.float32) * np.float32(scale), "n": np.array([7]), **more}
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_the_distance_is_relative_and_of_floating_point_weights_alone(tmp_path: Path) -> None:
    base = weights(tmp_path / "base", 1.0)
    assert drift.distance(weights(tmp_path / "same", 1.0), base) == 0
    assert drift.distance(weights(tmp_path / "far", 1.1), base) == pytest.approx(0.1, rel=1e-5)
    assert drift.distance(weights(tmp_path / "counted", 1.0, n=np.array([9])), base) == 0


def test_what_cannot_be_compared_has_no_distance(tmp_path: Path) -> None:
    base = weights(tmp_path / "base", 1.0)
    assert drift.distance(weights(tmp_path / "more", 1.0, v=np.ones(2, np.float32)), base) is None
    assert drift.distance(weights(tmp_path / "other", 1.0, n=np.array([7, 7])), base) is None
    assert drift.distance(tmp_path / "nowhere", base) is None
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "model.safetensors").write_bytes(b"weights")
    assert drift.distance(tmp_path / "same", base) is None


def test_versions_that_nobody_counted_count_as_deletions_of_an_unknown_base(tmp_path: Path) -> None:
    batch = Workspace(tmp_path).batch("b9")
    old = {"version": 4, "checkpoint": "x", "sha256": "4", "batch": "b4", "certificate_sha256": None, "previous": None}
    files.write_json(promotion.file(batch.workspace, "m"), old)
    begun = drift.start(batch, "m")
    assert begun == Start(4, "4")
    assert drift.of(begun, batch, "m", measured=True) == Drifted(4, None, None)
    assert promotion.since_base(Champion(**old)) == 4
    assert drift.of(Start(2, "2"), batch, "m", measured=True) == Drifted(None, None, None)


def test_days_are_counted_from_sealing_to_the_deadline(tmp_path: Path, repository: Path) -> None:
    workspace = toy_workspace(tmp_path)
    file_requests(workspace, request_body(submitted_at="2020-01-31T23:30:00-02:00"))
    batch, params = workspace.batch("b1"), toy_params(repository, **{"policy.days": 31})
    manifests(params, batch)
    said = batch.requests.with_name("batch.json")
    files.write_json(said, {**files.read_json(said), "sealed_at": "2020-03-01T00:10:00.000+00:00"})
    forgetful = {name: value for name, value in files.read_json(said).items() if name != "sealed_at"}
    # Submitted on 1 February in UTC; 31 days later is 3 March of a leap year.
    assert verb._seen(params, batch).days_left == 2
    files.write_json(said, forgetful)
    assert verb._seen(params, batch).days_left is None


def test_a_plan_made_again_has_the_same_bytes(tmp_path: Path, repository: Path) -> None:
    workspace, params = toy_workspace(tmp_path), toy_params(repository)
    file_requests(workspace, request_body())
    batch = workspace.batch("b1")
    manifests(params, batch)
    first = plan.file(batch).read_bytes()
    batch.lineage(plan.ASSET).unlink()
    verb.run(params, batch, silent)
    assert plan.file(batch).read_bytes() == first
