"""Deletion from shards is exact: bit for bit what training without the deleted rows makes, at a part of its price."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tests import toy_batch, toys
from tests.generators import published
from tests.sharding import line
from unlearning import digests, files
from unlearning.data import manifest
from unlearning.data.sharding import Rule
from unlearning.errors import CheckpointError, ManifestError, ParamsError
from unlearning.evidence.lineage import Record
from unlearning.generators.mae import MaeRecipe
from unlearning.generators.mage import MageRecipe
from unlearning.generators.sharded import ShardedRecipe
from unlearning.log import Log, Progress, silent
from unlearning.params import Params
from unlearning.training import checkpoint
from unlearning.verbs import _exact, _shards
from unlearning.workspace import BatchFolder, Workspace

PERSON = [{"subject": "person-6"}]
DDPM: dict[str, Any] = {
    "generator__of": {"kind": "ddpm", **toys.SMALLEST["ddpm"]},
    "corruption": {"kind": "everything"},
}


@pytest.fixture(scope="module")
def root(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy pictures and the manifests of a request for one person's; tests work on copies."""
    workspace = toy_batch.toy_workspace(tmp_path_factory.mktemp("root"))
    toy_batch.file_requests(workspace, toy_batch.request_body(selectors=PERSON))
    toy_batch.manifests(line.params(repository), workspace.batch("b1"))
    return workspace.root


@pytest.fixture
def batch(root: Path, tmp_path: Path) -> BatchFolder:
    shutil.copytree(root, tmp_path / "var")
    return Workspace(tmp_path / "var").batch("b1")


def weights(batch: BatchFolder, role: str) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(batch.asset(f"{role}_checkpoint")).state_dict())


def sha256(batch: BatchFolder, role: str) -> str:
    return checkpoint.weights_sha256(batch.asset(f"{role}_checkpoint"))


@pytest.mark.parametrize(
    ("seed", "from_step", "changes"),
    [
        (line.LAST_SLICE, 3, {}),
        (line.FIRST_SLICE, 0, {}),
        (line.ALONE_IN_THE_FIRST, 3, {}),  # its period has nothing left to read, and is passed over
        (line.LAST_SLICE, 3, DDPM),
    ],
    ids=["last_slice", "first_slice", "alone_in_the_first", "ddpm"],
)
def test_the_unlearned_model_is_the_reference_bit_for_bit(
    seed: int, from_step: int, changes: dict[str, Any], repository: Path, batch: BatchFolder
) -> None:
    records: dict[str, Record] = line.made(line.params(repository, seed, **changes), batch)
    assert sha256(batch, "unlearned") == sha256(batch, "reference") != sha256(batch, "original")
    done = records["unlearned"].facts["shards"]
    (touched,), (other,) = done["trained"], done["copied"]
    assert done["from_step"] == {str(touched): from_step}
    assert records["unlearned"].facts["steps"] == done["steps"] == line.STEPS - from_step
    assert (done["share_touched"], records["unlearned"].facts["expected_share_touched"]) == (0.5, 0.5)
    assert records["reference"].facts["shards"]["from_random_weights"] == [touched]
    before, after = weights(batch, "original"), weights(batch, "unlearned")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not [name for name in moved if name.startswith(f"shard.{other}.")]
    assert [name for name in moved if name.startswith(f"shard.{touched}.")]
    assert int(before["images"].sum() - after["images"].sum()) == records["unlearned"].facts["forget_images"] == 4


def test_the_reference_is_the_same_without_an_original_to_copy_from(repository: Path, batch: BatchFolder) -> None:
    """There is none that these parameters describe: the one that lies there was trained for longer."""
    params = line.params(repository)
    line.checkpoint_of(line.params(repository, original__steps=line.STEPS + 1), batch, "original")
    alone = line.checkpoint_of(params, batch, "reference")
    assert alone.facts["shards"]["copied"] == []
    line.made(params, batch, ("original", "unlearned"))
    assert sha256(batch, "unlearned") == sha256(batch, "reference")


class _Killed(Exception):
    """The process is gone."""


def _stop_at(place: str, step: int) -> Log:
    def said(progress: Progress) -> None:
        if place in progress.stage and progress.step == step and not progress.note:
            raise _Killed

    return said


def test_a_run_that_is_killed_and_run_again_ends_with_the_same_bytes(
    repository: Path, root: Path, tmp_path: Path
) -> None:
    """In a slice, at its edge, between two shards; the original and the deletion. A log line comes before the state."""
    params = line.params(repository, line.FIRST_SLICE)
    whole, torn = (Workspace(shutil.copytree(root, tmp_path / name)).batch("b1") for name in ("whole", "torn"))
    line.made(params, whole)
    for place, step in (("shard 0", 5), ("shard 0", line.STEPS), ("shard 1", 1), ("shard 1", 3), ("shard 1", 4)):
        with pytest.raises(_Killed):
            line.checkpoint_of(params, torn, "original", _stop_at(place, step))
    resumed = line.checkpoint_of(params, torn, "original")
    assert resumed.facts["resumed_from"] == line.STEPS + 2
    line.checkpoint_of(params, torn, "reference")
    for step in (1, 3, 6):
        with pytest.raises(_Killed):
            line.checkpoint_of(params, torn, "unlearned", _stop_at("shard", step))
    assert line.checkpoint_of(params, torn, "unlearned").facts["resumed_from"] == 4
    for role in ("original", "unlearned"):
        made = (toy_batch.snapshot(each.asset(f"{role}_checkpoint")) for each in (whole, torn))
        assert next(made) == next(made)
    assert not [path for path in (torn.workspace.root / "work").glob("*") if path.name != ".locks"]


def test_adapters_over_a_published_backbone_are_all_that_trains(
    repository: Path, batch: BatchFolder, tmp_path: Path
) -> None:
    """The backbone is the published one in every member of every checkpoint; the deletion is as exact as any."""
    file = published.saved(tmp_path / "mae_visualize_vit_tiny.pth", published.mae())
    of = {"kind": "mae", **published.TINY_MAE}
    params = line.params(repository, generator__of=of, generator__adapters=2, model__weights=str(file))
    made: dict[str, Record] = line.made(params, batch)
    assert sha256(batch, "unlearned") == sha256(batch, "reference") != sha256(batch, "original")
    assert made["unlearned"].facts["fixed_parts"] == {"sha256": digests.of_file(file)}
    backbone = dict(MaeRecipe(**published.TINY_MAE).build_from(file, toys.SIDE, 3).generator.state_dict())
    for role in made:
        held = weights(batch, role)
        factors = {name for name in held if name.endswith((".up", ".down"))}
        for name in held.keys() - factors - {"images"}:
            assert torch.equal(held[name], backbone[name.split(".", 2)[2]]), name
        assert all(held[name].any() for name in factors)
    state = next(file for file in made["original"].outputs if file.path.startswith("slices/"))
    kept = checkpoint.read_tensors(batch.original / state.path, state.sha256)
    assert all(name.endswith((".up", ".down")) for name in kept)


def test_a_published_tokenizer_is_every_member_s_and_no_backbone(
    repository: Path, batch: BatchFolder, tmp_path: Path
) -> None:
    """A first stage that nobody trains on these images is no obstacle to going back to a slice."""
    file = published.saved(tmp_path / "vqgan_jax_strongaug.ckpt", published.vqgan(), None)
    of = {"kind": "mage", **published.TINY_MAGE}
    chosen: dict[str, Any] = {"generator__of": of, "model__weights": str(file), "corruption__patch": 4}
    line.checkpoint_of(line.params(repository, **chosen), batch, "original")
    held, expected = weights(batch, "original"), MageRecipe(**published.TINY_MAGE).build_from(file, toys.SIDE, 3)
    tokenizer = {name: value for name, value in expected.generator.state_dict().items() if name.startswith("vqgan.")}
    assert tokenizer
    assert all(torch.equal(held[f"shard.{j}.{name}"], value) for name, value in tokenizer.items() for j in (0, 1))
    with pytest.raises(CheckpointError, match="holds a part of generator 'mage', and adapters stand over the whole"):
        line.checkpoint_of(line.params(repository, **chosen, generator__adapters=2), batch, "original")


def test_no_state_that_saw_a_forgotten_image_is_kept(repository: Path, batch: BatchFolder) -> None:
    made: dict[str, Record] = line.made(line.params(repository, line.FIRST_SLICE), batch)
    (touched,) = made["unlearned"].facts["shards"]["trained"]
    states = {role: {o.path: o.sha256 for o in made[role].outputs if "slices/" in o.path} for role in made}
    assert (
        states["original"].keys()
        == states["unlearned"].keys()
        == {f"slices/shard-{shard}/slice-0.safetensors" for shard in (0, 1)}
    )
    same = [path for path, each in states["original"].items() if states["unlearned"][path] == each]
    assert same == [f"slices/shard-{1 - touched}/slice-0.safetensors"]
    assert not states["reference"]
    named = set(pq.read_table(batch.unlearned / "shards.parquet")["key"].to_pylist())
    gone = set(manifest.only(manifest.read(batch.forget), "train")["key"].to_pylist())
    assert len(gone) == 4
    assert not named & gone
    log = [json.loads(text) for text in (batch.unlearned / "log.jsonl").read_text().splitlines()]
    assert [told["step"] for told in log] == list(range(1, line.STEPS + 1))


def test_the_next_batch_starts_from_the_champion_and_what_went_before_stays_away(
    repository: Path, batch: BatchFolder
) -> None:
    params, workspace = line.params(repository), batch.workspace
    first: Any = line.made(params, batch)["unlearned"]
    home = workspace.model(params.model.name)
    files.write_json(
        home / "champion.json",
        {
            "checkpoint": "batches/b1/unlearned_checkpoint",
            "sha256": first.sha256,
            "batch": "b1",
            "certificate_sha256": None,
            "previous": None,
            "version": 1,
        },
    )
    body = toy_batch.request_body(request_id=toy_batch.request_id(2), selectors=[{"subject": "person-2"}])
    toy_batch.file_requests(workspace, body)
    second = workspace.batch("b2")
    toy_batch.manifests(params, second)
    made = line.made(params, second, ("reference", "original", "unlearned"))
    assert made["original"].facts["source"] == "champion"
    assert sha256(second, "original") == sha256(batch, "unlearned")
    assert sha256(second, "reference") == sha256(second, "unlearned") != sha256(second, "original")
    named = set(pq.read_table(second.unlearned / "shards.parquet")["key"].to_pylist())
    assert not named & set(manifest.read(batch.forget)["key"].to_pylist())
    assert made["unlearned"].facts["retain_images"] == 32 - 8 == len(named)


def _request_everything_of(root: Path, repository: Path, seed: int) -> BatchFolder:
    """A batch for every person whose pictures lie in shard 0."""
    workspace, params = Workspace(root), line.params(repository, seed)
    rule = Rule(2, 2, "subject", seed)
    people = [f"person-{number}" for number in range(8)]
    gone = [{"subject": name} for name in people if rule.place(f"subject {name}")[0] == 0]
    body = toy_batch.request_body(request_id=toy_batch.request_id(3), selectors=gone)
    toy_batch.file_requests(workspace, body)
    batch = workspace.batch("b3")
    toy_batch.manifests(params, batch)
    return batch


def test_a_whole_shard_is_refused_and_everything_stays_as_it_was(repository: Path, batch: BatchFolder) -> None:
    params = line.params(repository)
    other = _request_everything_of(batch.workspace.root, repository, line.LAST_SLICE)
    line.checkpoint_of(params, other, "original")
    before = toy_batch.snapshot(batch.workspace.root)
    for role in ("unlearned", "reference"):
        with pytest.raises(ManifestError, match=r"the requests cover all \d+ images of shard 0 of 2, and a shard must"):
            line.checkpoint_of(params, other, role)
    assert toy_batch.snapshot(batch.workspace.root) == before


def test_nothing_to_retrain_is_said(repository: Path, batch: BatchFolder) -> None:
    params = line.params(repository)
    line.checkpoint_of(params, batch, "original")
    held_out = manifest.only(manifest.read(batch.forget), "holdout")
    assert len(held_out) == 1
    manifest.write(batch.forget, held_out)
    with pytest.raises(ManifestError, match="no image to forget was in the training of any of 2 shards"):
        _exact.forget(params, batch, _recipe(params), toys.ALONE, "key", silent)


def _recipe(params: Params) -> ShardedRecipe:
    return ShardedRecipe.model_validate(params.generator.fields)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"generator__shards": 60}, ManifestError, r"generator\.shards: 60 leaves shard \d+ without an image"),
        ({"generator__slices": 8}, ParamsError, "8 slices need as many steps, and original.steps is 7"),
        (
            {"generator__of": {"kind": "mage", **toys.SMALLEST["mage"]}},
            ParamsError,
            "generator.of: 'mage' trains a first stage on its images before anything else",
        ),
        ({"model__weights": "some/weights.safetensors"}, CheckpointError, "weights.safetensors: "),
        (
            {"generator__adapters": 2},
            ParamsError,
            "adapters stand over a published backbone; name one in model.weights",
        ),
    ],
)
def test_what_cannot_be_sharded_is_refused_before_anything_is_made(
    changes: dict[str, Any], error: type[Exception], said: str, repository: Path, batch: BatchFolder
) -> None:
    before = toy_batch.snapshot(batch.workspace.root)
    with pytest.raises(error, match=said):
        line.checkpoint_of(line.params(repository, **changes), batch, "original")
    assert toy_batch.snapshot(batch.workspace.root) == before


def test_a_damaged_state_or_plan_is_refused(repository: Path, batch: BatchFolder) -> None:
    params = line.params(repository, line.LAST_SLICE)
    line.checkpoint_of(params, batch, "original")
    found = _shards.standing(batch.original, _recipe(params), batch.workspace)
    state = found.members[0].states[0].path
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    shop = _shards.Shop("toy", toys.run().method, batch.workspace, toys.ALONE, batch.path / "work", silent)
    with pytest.raises(CheckpointError, match="damaged, its sha256 is not the recorded"):
        _shards.train_member(found.plan, 0, found.rows.member(0), found.members[0].states, shop)
    (batch.original / "shards.json").write_text('{"schema": "shards/1"}')
    with pytest.raises(CheckpointError, match=r"shards\.json: not a shards/1"):
        _shards.standing(batch.original, _recipe(params), batch.workspace)
