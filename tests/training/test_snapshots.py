"""The running variance of the weights against the snapshots themselves, cut anywhere, and on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests import toys
from unlearning.errors import CheckpointError
from unlearning.generators.mae import MaeRecipe
from unlearning.log import silent
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.params import Budget
from unlearning.scopes.all import All
from unlearning.training import checkpoint, snapshots
from unlearning.training.loop import train
from unlearning.training.run import Run
from unlearning.types import Drawn


def _run(stop_at: int | None = None, kept: list[dict[str, torch.Tensor]] | None = None) -> Run:
    """Twelve steps, looked at after 8, 10 and 12; `kept` gets the weights of the first two."""
    run = toys.run(method=NaiveDeletion(), scope=All(), budget={"snapshots": 3, "save_every": 3})

    def batches(number: int) -> Drawn:
        if number == stop_at:
            raise KeyboardInterrupt
        if kept is not None and number in (8, 10):
            kept.append(checkpoint.tensors(run.student))
        return run.batches(number)

    return replace(run, batches=batches)


def test_mean_and_variance_are_those_of_the_snapshots_wherever_the_run_was_cut(tmp_path: Path) -> None:
    kept = list[dict[str, torch.Tensor]]()
    whole = _run(kept=kept)
    trained = train(whole, toys.ALONE, tmp_path / "whole", silent)
    with pytest.raises(KeyboardInterrupt):
        train(_run(stop_at=11), toys.ALONE, tmp_path / "cut", silent)
    again = train(_run(), toys.ALONE, tmp_path / "cut", silent)
    assert again.resumed_from == 9
    assert again.snapshots.keys() == trained.snapshots.keys()
    assert all(torch.equal(again.snapshots[name], value) for name, value in trained.snapshots.items())

    looks = [*kept, checkpoint.tensors(whole.student)]
    facts = snapshots.write(tmp_path, trained.snapshots, 3)
    checkpoint.save(tmp_path, whole.student, MaeRecipe(**toys.SMALL_MAE), toys.SIDE, 1, facts)
    found = snapshots.read(tmp_path)
    assert found is not None
    assert found.keys() == dict(whole.student.named_parameters()).keys()
    for name, variance in found.items():
        stacked = torch.stack([look[name] for look in looks])
        torch.testing.assert_close(variance, stacked.var(dim=0), atol=1e-10, rtol=1e-3)
        torch.testing.assert_close(trained.snapshots[f"snapshots/mean/{name}"], stacked.mean(dim=0))
    (tmp_path / snapshots.FILE).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="damaged"):
        snapshots.read(tmp_path)


def test_a_budget_without_any_keeps_nothing_and_has_the_digest_it_had(tmp_path: Path) -> None:
    assert not snapshots.write(tmp_path, {}, 0)
    assert not list(tmp_path.iterdir())
    assert "snapshots" not in Budget(steps=8, batch_size=1, learning_rate=1.0).model_dump()
    assert Budget(steps=8, batch_size=1, learning_rate=1.0, snapshots=4).model_dump()["snapshots"] == 4


@pytest.mark.parametrize("looks", [1, 5])
def test_looks_that_do_not_fit_into_the_last_half_are_refused(looks: int) -> None:
    with pytest.raises(ValueError, match="snapshots is 0, or from 2 to half of the steps"):
        Budget(steps=8, batch_size=1, learning_rate=1.0, snapshots=looks)
