"""What a trace shows without running a step, and what running parts of it again shows: every lie here is noticed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

from tests import toys
from tests.sharding import line
from tests.verbs import traced
from unlearning import files, trace_rows
from unlearning.__main__ import main
from unlearning.data import index
from unlearning.errors import EvidenceError
from unlearning.evidence import training_trace
from unlearning.log import silent
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.params import Params
from unlearning.trace_rows import Part, Row
from unlearning.training import checkpoint
from unlearning.verbs import _traces, _trained_on, replay
from unlearning.workspace import BatchFolder, Workspace


@dataclass(frozen=True)
class Made:
    params: Params
    batch: BatchFolder

    @property
    def said(self) -> dict[str, object]:
        return dict(files.read_json(self.batch.certificate)["params"])

    def mismatches(self) -> tuple[str, ...]:
        return _traces.checked(self.batch, self.said).mismatches


@pytest.fixture(scope="module")
def whole(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Read by every test, written by none."""
    return Made(*traced.certified(tmp_path_factory.mktemp("traced"), repository))


@pytest.fixture
def copied(whole: Made, tmp_path: Path) -> Made:
    shutil.copytree(whole.batch.workspace.root, tmp_path / "var")
    return Made(whole.params, Workspace(tmp_path / "var").batch("b1"))


def _rewritten(
    batch: BatchFolder, change: Callable[[list[Row]], list[Row]], asset: str = "unlearned_checkpoint"
) -> None:
    """The trace as a liar writes it who can compute every hash: other rows, chained anew."""
    folder = batch.asset(asset)
    found = training_trace.read(folder)
    assert found is not None
    told, [part], [rows] = found.told, found.told.parts, found.rows
    start = {name: value for name, value in part.start.items() if name not in ("first", "after")}
    states = {state.step: training_trace.state_path(folder, part.part, state.step) for state in part.states}
    moved = {step: path.rename(path.with_suffix(".moved")) for step, path in states.items()}
    changed = b"".join(row.packed() for row in change(list(rows)))
    machine = {name: getattr(told, name) for name in ("device", "torch", "python", "deterministic", "processes")}
    training_trace.write(folder, [Part(part.part, start, changed, moved)], machine, told.weights_sha256)
    for path in moved.values():
        path.unlink()


def test_the_command_verifies_and_replays(whole: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(whole.batch.path), "--replay", "2", "--seed", "7"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert any(line.startswith("batch b1: verified") for line in lines)
    said = json.loads(last)
    assert said["equal"]
    assert said["exact"]
    assert said["drawn"] == 6
    assert [(one["first"], one["last"], one["why"]) for one in said["segments"]] == [(0, 2, ""), (2, 4, "")]
    assert said["steps"] == 4


@pytest.mark.parametrize("role", ["original", "reference", "unlearned"])
def test_every_segment_of_every_training_comes_out_again(whole: Made, role: str) -> None:
    done = replay.run(whole.batch.path, 99, silent, role=role)
    assert done.equal, done
    assert [(one.first, one.last) for one in done.segments][-1][1] == (6 if role == "unlearned" else 5)
    assert len(done.segments) == 3
    assert not list((whole.batch.workspace.root / "work").glob("replay-*"))


FAMILIES: dict[str, tuple[dict[str, object], str, list[tuple[str, int, int]]]] = {
    "a first stage before the model": (
        {"generator": {"kind": "mage", **toys.SMALLEST["mage"]}, "trace": {}},
        "original",
        [("first_stage", 0, 2), ("model", 0, 5)],
    ),
    "members that go on from a slice": (
        {
            "generator": {"kind": "sharded", "of": line.OF, "shards": 2, "slices": 2, "seed": line.LAST_SLICE},
            "original": {"steps": line.STEPS, "batch_size": 4, "learning_rate": 3e-3, "save_every": 2},
            "unlearn.method": {"kind": "sisa"},
            "trace": {"keep": 5},
        },
        "unlearned",
        [("shard-0", 3, 5), ("shard-0", 5, 7), ("shard-1", 3, 5), ("shard-1", 5, 7)],
    ),
    "a retraining that the reference already was": (
        {"unlearn.method": {"kind": "retrain"}},
        "unlearned",
        [("model", 0, 2), ("model", 2, 4), ("model", 4, 5)],
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_way_of_training_has_a_trace_that_replays(family: str, repository: Path, tmp_path: Path) -> None:
    changes, role, segments = FAMILIES[family]
    made = Made(*traced.certified(tmp_path, repository, **changes))
    assert made.mismatches() == ()
    done = replay.run(made.batch.path, 99, silent, role=role)
    assert done.equal, done
    assert [(one.part, one.first, one.last) for one in done.segments] == segments


def test_what_lies_there_is_small(whole: Made) -> None:
    folder = whole.batch.unlearned
    assert (folder / "trace.rows").stat().st_size == 96 * 6
    assert (folder / "trace.json").stat().st_size < 4096


def test_no_hash_of_an_image_stands_in_a_trace(whole: Made) -> None:
    content = b"".join((whole.batch.unlearned / name).read_bytes() for name in ("trace.json", "trace.rows"))
    for sha256 in index.read(whole.batch.workspace.dataset("toys"))["sha256"].to_pylist():
        assert sha256.encode() not in content
        assert bytes.fromhex(sha256) not in content


LIES: dict[str, tuple[Callable[[list[Row]], list[Row]], str]] = {
    "steps swapped": (lambda rows: [rows[1], rows[0], *rows[2:]], "steps are missing, or in another order"),
    "a step left out": (lambda rows: [*rows[:2], *rows[3:]], "steps are missing, or in another order"),
    "the last step left out": (lambda rows: rows[:-1], "5 steps are done at its end, and the budget has 6"),
    "a loss that is no number": (
        lambda rows: [rows[0]._replace(loss=float("nan")), *rows[1:]],
        "step 1 has a number that is not finite",
    ),
    "another learning rate": (
        lambda rows: [*rows[:3], rows[3]._replace(learning_rate=0.5), *rows[4:]],
        "the learning rate of step 4 is not the budget's",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_trace_written_anew_is_read_without_torch(lie: str, copied: Made) -> None:
    change, sentence = LIES[lie]
    _rewritten(copied.batch, change)
    assert [problem for problem in copied.mismatches() if sentence in problem], copied.mismatches()


def test_another_training_s_trace_is_not_this_one_s(copied: Made) -> None:
    for name in (training_trace.RECORD, training_trace.ROWS):
        shutil.copyfile(copied.batch.original / name, copied.batch.unlearned / name)
    shutil.rmtree(copied.batch.unlearned / "trace")
    said = " ".join(copied.mismatches())
    assert "is about other weights than model.safetensors" in said
    assert "of another training than lineage/unlearned_checkpoint.json names" in said
    assert "trained on other images than the manifests name" in said


def test_a_loss_that_was_never_lost_is_found_where_it_stands(copied: Made) -> None:
    _rewritten(copied.batch, lambda rows: [*rows[:3], rows[3]._replace(loss=0.25), *rows[4:]])
    assert copied.mismatches() == ()  # nobody sees it without running the step
    done = replay.run(copied.batch.path, 99, silent)
    assert [one.why.partition(" is")[0] for one in done.segments] == ["", "step 4: the loss", ""]


def test_a_retain_batch_with_a_forget_sample_is_found_without_running_a_step(copied: Made) -> None:
    """Of one image to forget in the place of the first to keep, under the very key of the run."""
    forget, retain = _sets(copied)
    key = trace_rows.run_key((forget, retain))
    mixed = trace_rows.of_batch(
        "retain", [token + b"\0" for token in trace_rows.tokens(key, [forget[0], *retain[1:4]])]
    )
    _rewritten(copied.batch, lambda rows: [*rows[:4], rows[4]._replace(retain=mixed), rows[5]])
    assert copied.mismatches() == ()
    assert replay.run(copied.batch.path, 0, silent).problems == ("model: step 5 read other images than its seed draws",)


def _sets(made: Made) -> tuple[list[str], list[str]]:
    forget, retain = _trained_on.unlearning(made.batch)
    return forget["sha256"].to_pylist(), retain["sha256"].to_pylist()


def _another_seed(params: Params) -> Params:
    budget = params.unlearn.budget.model_copy(update={"seed": 1})
    return params.model_copy(update={"unlearn": params.unlearn.model_copy(update={"budget": budget})})


def test_another_seed_and_other_data_are_other_beginnings(whole: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearning.verbs._planned.applied", lambda params, batch: _another_seed(whole.params))
    assert replay.run(whole.batch.path, 1, silent).problems == (
        "model: begins with other budget than the training has",
    )
    monkeypatch.undo()
    forget, retain = _trained_on.unlearning(whole.batch)
    monkeypatch.setattr("unlearning.verbs._trained_on.unlearning", lambda batch: (forget, retain.slice(1)))
    [problem] = replay.run(whole.batch.path, 1, silent).problems
    assert problem == "model: begins with other key_id, sets than the training has"


def test_other_parameters_and_other_code_are_other_numbers(whole: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = whole.params.unlearn.model_copy(update={"merge": whole.params.unlearn.merge.model_copy()})
    louder = {
        **whole.params.model_dump(mode="json")["unlearn"],
        "merge": {"kind": "weighted_sum", "forget_weight": 2.0},
    }
    changed = whole.params.model_copy(update={"unlearn": type(plan).model_validate(louder)})
    monkeypatch.setattr("unlearning.verbs._planned.applied", lambda params, batch: changed)
    done = replay.run(whole.batch.path, 99, silent)
    assert [one.why.partition(" is")[0] for one in done.segments] == [f"step {at}: the loss" for at in (1, 3, 5)]
    monkeypatch.undo()

    def forgets_nothing(self: WeightedSum, forget: Tensor, retain: Tensor) -> Tensor:
        return retain

    monkeypatch.setattr(WeightedSum, "loss", forgets_nothing)
    assert not any(one.equal for one in replay.run(whole.batch.path, 99, silent).segments)


def test_other_weights_at_the_end_are_found_though_every_row_is_equal(copied: Made) -> None:
    """A model that is handed over in the place of the one that was trained."""
    folder = copied.batch.unlearned
    weights = checkpoint.read_tensors(folder / "model.safetensors", checkpoint.weights_sha256(folder))
    first = next(iter(weights))
    sha256 = checkpoint.write_tensors(folder / "model.safetensors", {**weights, first: weights[first] + 1})
    files.write_json(folder / "trace.json", {**files.read_json(folder / "trace.json"), "weights_sha256": sha256})
    done = replay.run(copied.batch.path, 99, silent)
    assert [one.why for one in done.segments] == [
        "",
        "",
        "every row is equal, and the weights after step 6 are not those of the checkpoint",
    ]


def test_elsewhere_a_loss_may_differ_a_little_and_images_may_not(copied: Made) -> None:
    path = copied.batch.unlearned / "trace.json"
    files.write_json(path, {**files.read_json(path), "device": "NVIDIA H200"})
    _rewritten(copied.batch, lambda rows: [rows[0]._replace(loss=rows[0].loss * 1.01), *rows[1:]])
    done = replay.run(copied.batch.path, 99, silent)
    assert done.equal
    assert not done.exact
    assert "this machine is of another sort than the one that trained" in done.notes[0]
    _rewritten(copied.batch, lambda rows: [rows[0]._replace(loss=rows[0].loss * 1.5), *rows[1:]])
    assert not replay.run(copied.batch.path, 99, silent).equal


REFUSED: dict[str, tuple[Callable[[BatchFolder], object], str]] = {
    "purged": (
        lambda batch: files.write_json(batch.path / "purge" / "progress.json", {}),
        "the images that it forgot are no longer stored",
    ),
    "no trace": (
        lambda batch: [(batch.unlearned / name).rename(batch.path / name) for name in ("trace.json", "trace.rows")],
        "no training trace lies there",
    ),
    "a trace that does not hold": (
        lambda batch: (batch.unlearned / "trace.rows").write_bytes(bytes(96 * 6)),
        "a trace that holds is needed",
    ),
    "another data set": (
        lambda batch: files.write_json(batch.workspace.dataset("toys") / "dataset.json", {"index_sha256": "ab" * 32}),
        "has changed since batch b1 was made",
    ),
    "no data set": (
        lambda batch: batch.workspace.dataset("toys").rename(batch.path / "toys"),
        "cannot be trained again",
    ),
    "no root": (lambda batch: batch.path.parent.rename(batch.path.parent.with_name("elsewhere")), "below its root"),
}


@pytest.mark.parametrize("ruin", REFUSED)
def test_what_cannot_be_run_again_is_refused_in_one_sentence(ruin: str, copied: Made) -> None:
    change, sentence = REFUSED[ruin]
    path = copied.batch.path
    change(copied.batch)
    with pytest.raises(EvidenceError, match=sentence):
        replay.run(path if path.exists() else path.parent.with_name("elsewhere") / "b1", 1, silent)
