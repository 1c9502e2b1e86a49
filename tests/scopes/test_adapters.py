"""Low-rank adapters: what changes has the rank it may have, and nothing else changes by a bit."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toys
from unlearning.corruptions.everything import Everything
from unlearning.errors import ParamsError
from unlearning.generators.ddpm import DdpmRecipe
from unlearning.log import silent
from unlearning.merges.clipped_forget import ClippedForget
from unlearning.methods.siss import Siss
from unlearning.recipe import Choice
from unlearning.scopes.adapters import Adapters
from unlearning.training.loop import train
from unlearning.training.run import Run
from unlearning.types import Drawn

DDPM = DdpmRecipe(**toys.SMALLEST["ddpm"])
CHOSEN = r".*(to_q|conv2)"  # layers of both kinds


def _run(scope: Adapters, cut_at: int | None = None) -> Run:
    run = toys.run(
        generator=DDPM,
        method=Siss(),
        merge=ClippedForget(ratio=0.5),
        scope=scope,
        corruption=Everything(),
        steps=5,
        batch_size=4,
        budget={"weight_decay": 0.0, "save_every": 2},
    )

    def batches(number: int) -> Drawn:
        if number == cut_at:
            raise KeyboardInterrupt
        return run.batches(number)

    return replace(run, batches=batches)


def test_what_changes_has_the_rank_it_may_have_wherever_the_run_was_cut(tmp_path: Path) -> None:
    scope = Adapters(rank=2, alpha=4.0, modules=CHOSEN)
    run = _run(scope)
    before = copy.deepcopy(run.student.state_dict())
    train(run, toys.ALONE, tmp_path / "whole", silent)
    after = run.student.state_dict()
    assert list(after) == list(before)
    moved = {name: after[name] - before[name] for name in before if not torch.equal(before[name], after[name])}
    chosen = {name for name in before if name.endswith(("to_q.weight", "conv2.weight"))}
    assert moved.keys() == chosen
    assert {change.ndim for change in moved.values()} == {2, 4}
    for change in moved.values():
        values = torch.linalg.svdvals(change.flatten(1).double())
        assert values[1] > 1e-2 * values[0]  # two directions, and what rounding leaves
        assert values[2:].max() < 1e-4 * values[0]

    with pytest.raises(KeyboardInterrupt):
        train(_run(scope, cut_at=3), toys.ALONE, tmp_path / "cut", silent)
    last = _run(scope)
    assert train(last, toys.ALONE, tmp_path / "cut", silent).resumed_from == 2
    assert all(torch.equal(value, last.student.state_dict()[name]) for name, value in after.items())
    states = list((tmp_path / "cut").glob("*.safetensors"))
    assert states
    assert max(state.stat().st_size for state in states) < 0.5 * sum(w.nbytes for w in before.values())


def test_the_folded_model_is_the_adapted_one() -> None:
    student: Any = toys.built(DDPM).eval()
    scope = Adapters(rank=3)
    scope.adapt(student)
    with torch.no_grad():
        for name, weight in scope.parameters(student).items():
            if "lora_B" in name:
                weight += 0.1
    noised, timestep = toys.pictures("forget", 4), torch.tensor([0, 3, 6, 9])
    with torch.no_grad():
        adapted = student.predict(noised, timestep)
        scope.fold(student)
        folded = student.predict(noised, timestep)
        plain = toys.built(DDPM).eval().predict(noised, timestep)  # type: ignore[operator]
    torch.testing.assert_close(folded, adapted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(folded, plain, atol=1e-2)


def test_layers_that_are_not_there_and_patterns_that_are_none_are_refused() -> None:
    with pytest.raises(ParamsError, match=r"no layer's whole name matches modules 'attention'; this generator has \d+"):
        Adapters(modules="attention").adapt(toys.built(DDPM))
    with pytest.raises(ParamsError, match="modules is a regular expression over names of layers"):
        Adapters.chosen(Choice.model_validate({"kind": "adapters", "modules": "("}))
