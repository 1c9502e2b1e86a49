from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toys
from unlearning.contracts import Generator
from unlearning.errors import CheckpointError, ParamsError
from unlearning.log import Progress, silent
from unlearning.merges.clipped_forget import ClippedForget
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.scopes.all import All
from unlearning.training.loop import train
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.types import Drawn

RUNS: dict[str, Callable[[], Run]] = {
    "joint": toys.run,
    "apart": lambda: toys.run(merge=ClippedForget()),
    "from_scratch": lambda: toys.run(method=NaiveDeletion(), scope=All()),
    "several_maps": lambda: toys.run(generator=toys.ToyPyramidRecipe(), merge=ClippedForget()),
    "bfloat16": lambda: toys.run(budget={"precision": "bfloat16"}),
}


class Killed(Exception):
    """Stands for the end of the process."""


def _killed_at(run: Run, step: int) -> Run:
    def batches(number: int) -> Drawn:
        if number == step:
            raise Killed
        return run.batches(number)

    return replace(run, batches=batches)


def _weights(generator: Generator) -> dict[str, torch.Tensor]:
    return copy.deepcopy(dict(generator.state_dict()))


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(params=RUNS)
def fresh(request: pytest.FixtureRequest) -> Callable[[], Run]:
    return RUNS[request.param]


def test_a_run_cut_anywhere_ends_bit_identical(fresh: Callable[[], Run], tmp_path: Path) -> None:
    whole = fresh()
    train(whole, toys.ALONE, tmp_path / "whole", silent)
    for step in (1, 3, 7, 11):
        with pytest.raises(Killed):
            train(_killed_at(fresh(), step), toys.ALONE, tmp_path / "cut", silent)
    last = fresh()
    trained = train(last, toys.ALONE, tmp_path / "cut", silent)
    assert trained.resumed_from == 9
    assert _same(_weights(whole.student), _weights(last.student))
    assert (tmp_path / "cut" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = toys.run()
    train(first, toys.ALONE, tmp_path, silent)
    again = _killed_at(toys.run(), 0)
    trained = train(again, toys.ALONE, tmp_path, silent)
    assert trained.resumed_from == trained.steps == 12
    assert trained.last["step"] == 12
    assert _same(_weights(first.student), _weights(again.student))


def test_two_states_are_kept(tmp_path: Path) -> None:
    train(toys.run(), toys.ALONE, tmp_path, silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "log.jsonl",
        "state-00000009.json",
        "state-00000009.safetensors",
        "state-00000012.json",
        "state-00000012.safetensors",
    ]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


DAMAGE: dict[str, Callable[[Path], None]] = {
    "tensors truncated": lambda folder: _truncate(folder / "state-00000012.safetensors"),
    "tensors gone": lambda folder: (folder / "state-00000012.safetensors").unlink(),
    "record truncated": lambda folder: _truncate(folder / "state-00000012.json"),
    "record empty": lambda folder: (folder / "state-00000012.json").write_bytes(b""),
    "record never written": lambda folder: (folder / "state-00000012.json").unlink(),
    "log line half written": lambda folder: _truncate(folder / "log.jsonl"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_gives_way_to_the_one_before(damage: str, tmp_path: Path) -> None:
    whole = toys.run()
    train(whole, toys.ALONE, tmp_path, silent)
    journal = (tmp_path / "log.jsonl").read_bytes()
    DAMAGE[damage](tmp_path)
    again = toys.run()
    trained = train(again, toys.ALONE, tmp_path, silent)
    assert trained.resumed_from == (12 if damage.startswith("log") else 9)
    assert _same(_weights(whole.student), _weights(again.student))
    if not damage.startswith("log"):
        assert (tmp_path / "log.jsonl").read_bytes() == journal


def test_a_state_of_another_recipe_is_refused_and_stays(tmp_path: Path) -> None:
    train(toys.run(), toys.ALONE, tmp_path, silent)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="of another recipe"):
        train(toys.run(recipe={"name": "another"}), toys.ALONE, tmp_path, silent)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("poisoned", ["forget", "retain"])
@pytest.mark.parametrize("merge", ["joint", "apart"])
def test_a_number_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(
    poisoned: str, merge: str, tmp_path: Path
) -> None:
    run = RUNS[merge]()

    def batches(number: int) -> Drawn:
        drawn = run.batches(number)
        if number == 7:
            getattr(drawn, poisoned).images[0] = float("nan")
        return drawn

    with pytest.raises(CheckpointError, match="gradient norm is nan at step 8"):
        train(replace(run, batches=batches), toys.ALONE, tmp_path, silent)
    good = RUNS[merge]()
    assert train(good, toys.ALONE, tmp_path, silent).resumed_from == 6
    assert all(bool(value.isfinite().all()) for value in good.student.state_dict().values())


def test_says_how_it_goes_and_leaves_no_clock_in_the_log(tmp_path: Path) -> None:
    lines = list[Progress]()
    train(toys.run(), toys.ALONE, tmp_path, lines.append)
    assert [line.step for line in lines] == [2, 4, 6, 8, 10, 12]
    named = {"forget", "retain", "loss", "gradient_norm", "learning_rate"}
    assert all(line.numbers.keys() == named | {"images_per_second"} and line.of == 12 for line in lines)
    written = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in written] == [2, 4, 6, 8, 10, 12]
    assert all(line.keys() == named | {"step"} for line in written)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"batch_size 7 .* cannot be shared equally by 2"):
        toys.run(World(0, 2, torch.device("cpu")), batch_size=7)


def test_the_optimizer_follows_the_schedule_and_spares_vectors_from_decay(tmp_path: Path) -> None:
    """A weight that gets no gradient to speak of decays if it is a matrix, and not if it is a vector."""

    class Still(NaiveDeletion, kind=None):
        def terms(self, student: Generator, *rest: Any) -> Any:
            terms = super().terms(student, *rest)
            return replace(terms, retain=terms.retain * 0)

    run = toys.run(method=Still(), scope=All(), budget={"weight_decay": 0.5, "learning_rate": 0.1}, steps=1)
    before = _weights(run.student)
    train(run, toys.ALONE, tmp_path, silent)
    after = run.student.state_dict()
    matrix, vector = "blocks.0.attn.qkv.weight", "blocks.0.norm1.weight"
    torch.testing.assert_close(after[matrix], before[matrix] * (1 - 0.05 * 0.5))
    assert torch.equal(after[vector], before[vector])
