"""Families beside mae, the default of every other test, go the whole line on a tiny configuration."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toy_batch, toys
from unlearning import files
from unlearning.log import silent
from unlearning.training import checkpoint
from unlearning.verbs import certify, evaluate, plan, train, unlearn
from unlearning.workspace import Workspace

BUDGET = {"steps": 2, "batch_size": 4, "warmup_steps": 0, "learning_rate": 1e-3}
FAMILIES: dict[str, dict[str, Any]] = {
    "ddpm": {"kind": "ddpm", **toys.SMALLEST["ddpm"]},
    "latent": {"kind": "latent", **toys.SMALLEST["latent"]},
    "mage": {"kind": "mage", **toys.SMALLEST["mage"]},
    "palette": {"kind": "palette", **toys.SMALLEST["palette"]},
    "palette_guided": {"kind": "palette", "network": "guided", "head_width": 8, **toys.SMALLEST["palette"]},
}


@pytest.fixture(scope="module")
def made(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made")
    workspace = toy_batch.toy_workspace(home)
    toy_batch.file_requests(workspace, toy_batch.request_body())
    toy_batch.manifests(toy_batch.toy_params(repository), workspace.batch("b1"))
    return workspace.root


@pytest.mark.parametrize("family", FAMILIES)
def test_from_manifests_to_a_certificate(family: str, repository: Path, made: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    shutil.copytree(made, tmp_path / "var")
    batch = Workspace(tmp_path / "var").batch("b1")
    overrides = {
        "generator": FAMILIES[family],
        "original": BUDGET,
        "unlearn.budget": BUDGET,
        "evaluate.bootstrap": 100,
        "evaluate.seeds": [0],
        "evaluate.metrics": [{"kind": "mse"}, {"kind": "psnr"}],
        "evaluate.siblings": [],
    }
    params = toy_batch.toy_params(repository, **overrides)
    for role in ("original", "reference"):
        train.run(params, batch, silent, role)
    plan.run(params, batch, silent)
    unlearn.run(params, batch, silent)
    evaluate.run(params, batch, silent)
    certify.run(params, batch, silent)
    report = files.read_json(batch.report)
    assert report["scores"].keys() >= {"forgetting", "retention", "reference_forgetting"}
    assert batch.certificate.is_file()
    original, unlearned = checkpoint.load(batch.original), checkpoint.load(batch.unlearned)
    before, after = original.state_dict(), unlearned.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert moved <= original.encoder_parameters().keys()
