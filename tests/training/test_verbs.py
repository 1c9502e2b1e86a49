"""train and unlearn on real files: toy pictures, real manifests, a generator of a few thousand weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toy_batch, toys
from tests.training import processes
from unlearning import digests, files
from unlearning.data import index, manifest
from unlearning.errors import CheckpointError, DataError, ManifestError, ParamsError
from unlearning.evidence import lineage, training_trace
from unlearning.log import Progress, silent
from unlearning.params import Params
from unlearning.training import checkpoint
from unlearning.verbs import plan, train, unlearn
from unlearning.workspace import BatchFolder, Workspace

SMALL: dict[str, Any] = {
    "generator": {"kind": "mae", **toys.SMALL_MAE},
    "original.steps": 6,
    "original.batch_size": 8,
    "original.save_every": 2,
    "unlearn.budget.steps": 6,
    "unlearn.budget.batch_size": 8,
    "unlearn.budget.save_every": 2,
}


@pytest.fixture(scope="module")
def made(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a data set and the manifests of one batch; tests work on copies."""
    home = tmp_path_factory.mktemp("made")
    workspace = toy_batch.toy_workspace(home)
    toy_batch.file_requests(workspace, toy_batch.request_body())
    toy_batch.manifests(_params(repository), workspace.batch("b1"))
    return workspace.root


def _params(repository: Path, **overrides: Any) -> Params:
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    return toy_batch.toy_params(repository, **{**SMALL, **dotted})


@pytest.fixture
def params(repository: Path) -> Params:
    return _params(repository)


@pytest.fixture
def batch(made: Path, tmp_path: Path) -> BatchFolder:
    shutil.copytree(made, tmp_path / "var")
    return Workspace(tmp_path / "var").batch("b1")


def _line(params: Params, batch: BatchFolder) -> dict[str, lineage.Record]:
    return {
        "original": train.run(params, batch, silent, "original"),
        "reference": train.run(params, batch, silent, "reference"),
        "unlearned": unlearn.run(params, batch, silent),
    }


def test_three_checkpoints_from_one_command_each(params: Params, batch: BatchFolder) -> None:
    records = _line(params, batch)
    weights = {role: checkpoint.weights_sha256(batch.asset(f"{role}_checkpoint")) for role in records}
    assert len(set(weights.values())) == 3
    for role, record in records.items():
        assert [file.path for file in record.outputs] == [
            *("checkpoint.json", "log.jsonl", "model.safetensors"),
            *("trace.json", "trace.rows"),
        ]
        assert record.facts["steps"] == 6
        assert record.facts["resumed_from"] == 0
        assert record.facts["last"]["step"] == 6
        assert checkpoint.describe(batch.asset(f"{role}_checkpoint"))["facts"]["role"] == role
    assert records["original"].facts["left_out"] == 0
    assert records["reference"].facts["left_out"] == records["unlearned"].facts["forget_images"] > 0
    assert records["unlearned"].facts["method"]["kind"] == "noise_target"


def test_nothing_is_left_of_resumable_state(params: Params, batch: BatchFolder) -> None:
    """It was made from images to forget: it must not outlive the asset."""
    _line(params, batch)
    assert not [path for path in (batch.workspace.root / "work").glob("*") if path.name != ".locks"]


def test_the_second_time_everything_is_reused(params: Params, batch: BatchFolder) -> None:
    first = _line(params, batch)
    lines = list[Progress]()
    again = train.run(params, batch, lines.append, "original")
    assert again == first["original"]
    assert "reused" in lines[0].note
    assert unlearn.run(params, batch, silent) == first["unlearned"]


def test_the_same_line_makes_the_same_bytes(params: Params, batch: BatchFolder, made: Path, tmp_path: Path) -> None:
    first = _line(params, batch)
    shutil.copytree(made, tmp_path / "again")
    second = _line(params, Workspace(tmp_path / "again").batch("b1"))
    assert {role: record.sha256 for role, record in first.items()} == {
        role: record.sha256 for role, record in second.items()
    }


def test_only_the_encoder_has_moved(params: Params, batch: BatchFolder) -> None:
    _line(params, batch)
    original, unlearned = checkpoint.load(batch.original), checkpoint.load(batch.unlearned)
    moved = {
        name for name, value in original.state_dict().items() if not torch.equal(value, unlearned.state_dict()[name])
    }
    assert moved
    assert moved <= original.encoder_parameters().keys()


class _Watch:
    """Which stored images a verb has read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys = set[str]()
        watch = self

        def sampled(images: Any, rows: torch.Tensor) -> torch.Tensor:
            watch.keys |= {images.table["key"][int(row)].as_py() for row in rows}
            return read(images, rows)

        from unlearning.data.images import ImageSet

        read = ImageSet.__call__
        monkeypatch.setattr(ImageSet, "__call__", sampled)


def _keys(table: Any) -> set[str]:
    return set(table["key"].to_pylist())


def test_each_model_sees_its_own_images_and_no_held_out_one(
    params: Params, batch: BatchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = index.read(batch.workspace.dataset("toys"))
    forget, retain = _keys(manifest.read(batch.forget)), _keys(manifest.read(batch.retain))
    trained = _keys(manifest.only(every, "train"))
    seen = {}
    for role in ("original", "reference"):
        watch = _Watch(monkeypatch)
        train.run(params, batch, silent, role)
        seen[role] = set(watch.keys)
    watch = _Watch(monkeypatch)
    unlearn.run(params, batch, silent)
    assert seen["original"] == trained
    assert seen["reference"] == trained - forget
    assert watch.keys == (trained & forget) | retain


def test_naive_deletion_never_reads_a_forget_image(
    repository: Path, batch: BatchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = _params(repository, unlearn__method={"kind": "naive_deletion"}, unlearn__scope={"kind": "all"})
    train.run(params, batch, silent, "original")
    plan.run(params, batch, silent)
    watch = _Watch(monkeypatch)
    record = unlearn.run(params, batch, silent)
    assert not watch.keys & _keys(manifest.read(batch.forget))
    assert record.facts["last"].keys() == {"step", "retain", "loss", "gradient_norm", "learning_rate"}


def test_a_base_is_trained_once_and_shared_by_batches(repository: Path, params: Params, batch: BatchFolder) -> None:
    first = train.run(params, batch, silent, "original")
    lines = list[Progress]()
    second = train.run(params, batch.workspace.batch("b2"), lines.append, "original")
    assert (second.sha256, second.facts) == (first.sha256, first.facts)
    assert any("base trained before is reused" in line.note for line in lines)
    damaged = batch.workspace.model(params.model.name) / "base" / first.key / "model.safetensors"
    content = damaged.read_bytes()
    damaged.unlink()  # a hard link: the batches keep theirs
    damaged.write_bytes(content[:-1])
    third = train.run(params, batch.workspace.batch("b3"), silent, "original")
    assert third.sha256 == first.sha256
    assert digests.of_bytes(damaged.read_bytes()) == digests.of_bytes(content)


def _crown(params: Params, batch: BatchFolder, **changes: Any) -> None:
    """Serve the batch's unlearned checkpoint, as promotion does."""
    record = lineage.read(batch, "unlearned_checkpoint")
    where = batch.unlearned.relative_to(batch.workspace.root).as_posix()
    champion = {"checkpoint": where, "sha256": record.sha256, "version": 3, **changes}
    files.write_json(batch.workspace.model(params.model.name) / "champion.json", champion)


def test_the_next_batch_starts_from_the_champion_and_the_first_keeps_its_own(
    repository: Path, params: Params, batch: BatchFolder
) -> None:
    first = _line(params, batch)
    _crown(params, batch)
    later = train.run(params, batch.workspace.batch("b2"), silent, "original")
    assert later.sha256 == first["unlearned"].sha256
    assert later.facts == {"source": "champion", "version": 3, "champion_sha256": first["unlearned"].sha256}
    changed = _params(repository, original__steps=7)
    assert train.run(changed, batch, silent, "original").facts["source"] == "trained"
    assert train.run(changed, batch.workspace.batch("b2"), silent, "original").sha256 == later.sha256


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256": "0" * 64}, "not those that were promoted as version 3"),
        ({"checkpoint": "batches/b9/unlearned_checkpoint"}, "not those that were promoted"),
        ({"checkpoint": "../../elsewhere"}, "lies outside the root"),
        ({"version": None, "checkpoint": 7}, "not a champion"),
    ],
)
def test_a_champion_that_is_not_what_was_promoted_is_refused(
    params: Params, batch: BatchFolder, changes: dict[str, Any], said: str
) -> None:
    _line(params, batch)
    _crown(params, batch, **changes)
    with pytest.raises(CheckpointError, match=said):
        train.run(params, batch.workspace.batch("b2"), silent, "original")
    assert not batch.workspace.batch("b2").original.exists()


def test_a_champion_of_another_recipe_is_refused(repository: Path, params: Params, batch: BatchFolder) -> None:
    _line(params, batch)
    _crown(params, batch)
    other = _params(repository, generator={"kind": "mae", **toys.SMALL_MAE, "depth": 3})
    with pytest.raises(CheckpointError, match="depth is 2, expected 3"):
        train.run(other, batch.workspace.batch("b2"), silent, "original")


def test_a_killed_verb_goes_on_where_it_was(
    params: Params, batch: BatchFolder, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made, tmp_path / "whole")
    whole = _line(params, Workspace(tmp_path / "whole").batch("b1"))

    def dies(line: Progress) -> None:
        raise KeyboardInterrupt

    for verb in (lambda log: train.run(params, batch, log, "original"), lambda log: unlearn.run(params, batch, log)):
        with pytest.raises(KeyboardInterrupt):
            verb(_after(4, dies))
        record = verb(silent)
        assert record.facts["resumed_from"] == 4
        assert record.sha256 == whole[record.asset.removesuffix("_checkpoint")].sha256


def _after(step: int, act: Any) -> Any:
    return lambda line: act(line) if line.step > step else None


@pytest.mark.parametrize(
    ("overrides", "error", "said"),
    [
        ({"generator": {"kind": "oracle"}}, ParamsError, r"no generator of kind 'oracle'; known kinds: .*mae"),
        ({"generator": {"kind": "mae", "patch": 3}}, ParamsError, "patch 3 does not cut"),
        ({"corruption": {"kind": "random_patches", "patch": 3}}, ParamsError, "patch 3 does not divide"),
        ({"corruption": {"kind": "random_patches", "ratios": 1}}, ParamsError, "no key 'ratios'"),
        ({"data__name": "nowhere"}, ManifestError, "no ingested data set 'nowhere'"),
    ],
)
def test_bad_parameters_are_named_and_leave_nothing(
    repository: Path, batch: BatchFolder, overrides: dict[str, Any], error: type[Exception], said: str
) -> None:
    before = toy_batch.snapshot(batch.workspace.root)
    with pytest.raises(error, match=said):
        train.run(_params(repository, **overrides), batch, silent, "original")
    assert toy_batch.snapshot(batch.workspace.root) == before


def test_unlearning_needs_an_original(params: Params, batch: BatchFolder) -> None:
    before = toy_batch.snapshot(batch.workspace.root)
    with pytest.raises(ManifestError, match="needs original_checkpoint, which is not made yet"):
        unlearn.run(params, batch, silent)
    assert toy_batch.snapshot(batch.workspace.root) == before


def test_an_image_that_changed_since_the_index_stops_training(params: Params, batch: BatchFolder) -> None:
    for shard in (batch.workspace.dataset("toys") / "shards").glob("train-*.tar"):
        content = bytearray(shard.read_bytes())
        for place in range(512, len(content), 512):
            if content[place : place + 4] == b"\x89PNG":
                content[place + 40] ^= 1
        shard.write_bytes(bytes(content))
    with pytest.raises(DataError, match="the stored bytes are not the indexed ones"):
        train.run(params, batch, silent, "original")
    assert not batch.original.exists()


def _trace(batch: BatchFolder) -> training_trace.Trace:
    found = training_trace.read(batch.original)
    assert found is not None
    return found


def test_two_processes_make_one_asset(params: Params, batch: BatchFolder, repository: Path, tmp_path: Path) -> None:
    shutil.copytree(batch.workspace.root, tmp_path / "alone")
    alone = Workspace(tmp_path / "alone").batch("b1")
    train.run(params, alone, silent, "original")
    (tmp_path / "params.json").write_text(params.model_dump_json())
    processes.group(repository, "verb", str(batch.workspace.root), str(tmp_path / "params.json"))
    record = lineage.read(batch, "original_checkpoint")
    assert record.facts["processes"] == 2
    [mine], [theirs] = (_trace(where).rows for where in (alone, batch))
    assert [row[:3] for row in mine] == [row[:3] for row in theirs]  # the images of both ranks, whoever read them
    assert [row.loss for row in theirs] == pytest.approx([row.loss for row in mine], rel=1e-3)
    assert [(tmp_path / f"rank-{rank}").read_text() for rank in range(2)] == [record.sha256] * 2
    one, two = (checkpoint.load(where.original).state_dict() for where in (alone, batch))
    for name, value in one.items():
        if not name.endswith("qkv.bias"):  # the keys' bias has no gradient but rounding noise
            torch.testing.assert_close(two[name], value, rtol=1e-3, atol=2e-4)
