"""`model.weights`: the original is the published file, converted once; everything after it is as for our own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toy_batch
from tests.generators import published
from unlearning.errors import CheckpointError
from unlearning.log import Progress, silent
from unlearning.params import Params
from unlearning.training import checkpoint
from unlearning.verbs import plan, train, unlearn
from unlearning.workspace import BatchFolder, Workspace


@pytest.fixture(scope="module")
def made(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made")
    workspace = toy_batch.toy_workspace(home)
    toy_batch.file_requests(workspace, toy_batch.request_body())
    toy_batch.manifests(toy_batch.toy_params(repository), workspace.batch("b1"))
    return workspace.root


@pytest.fixture
def batch(made: Path, tmp_path: Path) -> BatchFolder:
    shutil.copytree(made, tmp_path / "var")
    return Workspace(tmp_path / "var").batch("b1")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return published.saved(tmp_path / "mae_visualize_vit_tiny.pth", published.mae())


def _params(repository: Path, weights: Path, **overrides: Any) -> Params:
    budget = {"steps": 2, "batch_size": 4, "warmup_steps": 0}
    return toy_batch.toy_params(
        repository,
        **{
            "generator": {"kind": "mae", **published.TINY_MAE},
            "model.weights": str(weights),
            **{f"original.{name}": value for name, value in budget.items()},
            **{f"unlearn.budget.{name}": value for name, value in budget.items()},
            **overrides,
        },
    )


def test_the_original_is_the_published_file(repository: Path, batch: BatchFolder, weights: Path) -> None:
    params = _params(repository, weights)
    record = train.run(params, batch, silent, "original")
    assert [file.path for file in record.outputs] == ["checkpoint.json", "model.safetensors"]
    facts = {name: record.facts[name] for name in ("role", "source", "file", "layout")}
    assert facts == {
        "role": "original",
        "source": "published",
        "file": "mae_visualize_vit_tiny.pth",
        "layout": "facebookresearch/mae",
    }
    kept = checkpoint.load(batch.original).state_dict()
    assert all(torch.equal(kept[name], value) for name, value in published.mae().items())
    train.run(params, batch, silent, "reference")
    plan.run(params, batch, silent)
    unlearned = unlearn.run(params, batch, silent)
    assert unlearned.inputs["original_checkpoint"] == record.sha256


def test_it_is_converted_once_for_all_batches(repository: Path, batch: BatchFolder, weights: Path) -> None:
    params = _params(repository, weights)
    first = train.run(params, batch, silent, "original")
    (base,) = (batch.workspace.model(params.model.name) / "base").glob("[!.]*")
    shutil.rmtree(batch.original)
    before = (base / "model.safetensors").stat().st_ino
    lines = list[Progress]()
    assert train.run(params, batch, lines.append, "original").sha256 == first.sha256
    assert (batch.original / "model.safetensors").stat().st_ino == before
    assert any("mae_visualize_vit_tiny.pth" in line.note for line in lines)


def test_a_file_of_another_sha256_is_refused_and_nothing_is_made(
    repository: Path, batch: BatchFolder, weights: Path
) -> None:
    params = _params(repository, weights, **{"model.weights_sha256": "0" * 64})
    with pytest.raises(CheckpointError, match=r"model\.weights_sha256 is 000000000000"):
        train.run(params, batch, silent, "original")
    assert not batch.original.exists()
    assert not batch.workspace.model(params.model.name).exists()


def test_a_file_that_is_not_there_is_refused(repository: Path, batch: BatchFolder, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.pth: cannot be read"):
        train.run(_params(repository, tmp_path / "absent.pth"), batch, silent, "original")


def test_a_family_without_published_checkpoints_says_so(repository: Path, batch: BatchFolder, weights: Path) -> None:
    from unlearning.contracts import GeneratorRecipe

    class Unpublished(GeneratorRecipe):
        kind = "unpublished"

    with pytest.raises(CheckpointError, match="'unpublished' reads no published checkpoint"):
        Unpublished().build_from(weights, 8, 3)


def test_a_published_tokenizer_serves_the_original_and_the_reference(
    repository: Path, batch: BatchFolder, tmp_path: Path
) -> None:
    """The transformer is trained here, twice; the codes mean the same in both, and unlearning never moves them."""
    weights = published.saved(tmp_path / "vqgan_jax_strongaug.ckpt", published.vqgan(), None)
    chosen = {
        "generator": {"kind": "mage", **published.TINY_MAGE},
        "corruption": {"kind": "random_patches", "patch": 4, "ratio": 0.5},
        "unlearn.scope": {"kind": "all"},
    }
    params = _params(repository, weights, **chosen)
    original = train.run(params, batch, silent, "original")
    assert original.facts["fixed_parts"]["file"] == "vqgan_jax_strongaug.ckpt"
    assert original.facts["steps"] == 2
    train.run(params, batch, silent, "reference")
    plan.run(params, batch, silent)
    unlearn.run(params, batch, silent)
    models = [checkpoint.load(folder).state_dict() for folder in (batch.original, batch.reference, batch.unlearned)]
    for name, value in published.vqgan().items():
        assert all(torch.equal(model[f"vqgan.{name}"], value) for model in models)
    tables = [model["token_emb.word_embeddings.weight"] for model in models]
    assert not torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])
