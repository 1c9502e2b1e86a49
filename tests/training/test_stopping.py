"""Early stopping: where it ends, with which weights, wherever it was cut, and what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests import toys
from unlearning.log import silent
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.methods.max_loss import MaxLoss
from unlearning.params import Params, Stop
from unlearning.randomness import Draws
from unlearning.scopes.all import All
from unlearning.training.loop import train
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.training.stopping import Stopping
from unlearning.types import Drawn, Pair

STEPS = 40


def _run(rule: Stop | None, cut_at: int | None = None) -> Run:
    """NegGrad on the toy generator: everything gets worse, ever faster."""
    forget, retain = toys.Pictures("forget", 20), toys.Pictures("retain", 30)
    run = toys.run(
        generator=toys.ToyRecipe(),
        method=MaxLoss(),
        merge=WeightedSum(forget_weight=1.0, retain_weight=0.0),
        scope=All(),
        steps=STEPS,
        budget={"learning_rate": 3e-3, "weight_decay": 0.0, "save_every": 7, "log_every": 5},
        stopping=None if rule is None else Stopping(rule, forget, retain),
    )

    def batches(number: int) -> Drawn:
        if number == cut_at:
            raise KeyboardInterrupt
        return run.batches(number)

    return replace(run, batches=batches)


def _loss(run: Run, name: str, count: int) -> float:
    """What the rule measures, image by image and by hand."""
    source, draws = toys.Pictures(name, {"forget": 20, "retain": 30}[name]), Draws(0, count, where=("stop", name))
    rows = torch.arange(count) * len(source) // count
    corrupted = run.corruption(source(rows), draws.at("corruption"))
    with torch.no_grad():
        view = run.student.draw_view(corrupted, draws.at("view"))
        return float(run.student.loss(Pair(source(rows), corrupted, rows), view).mean())


def _rises(weights: dict[str, Tensor], count: int = 20) -> dict[str, float]:
    run, found = _run(None), {}
    for name in ("forget", "retain"):
        before = _loss(run, name, count)
        after = replace(run, student=toys.built(toys.ToyRecipe()))
        after.student.load_state_dict(weights)
        found[name] = _loss(after, name, count) / before - 1
    return found


def _weights_after(steps: int, folder: Path) -> dict[str, Tensor]:
    """Of the same run without a rule, cut after that many steps."""
    run = _run(None, cut_at=steps)
    with pytest.raises(KeyboardInterrupt):
        train(run, toys.ALONE, folder, silent)
    return dict(run.student.state_dict())


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_it_ends_with_the_last_weights_that_were_within_bounds_wherever_it_was_cut(tmp_path: Path) -> None:
    rule = Stop(every=4, images=20, retain_rise_at_most=0.5)
    run = _run(rule)
    trained = train(run, toys.ALONE, tmp_path / "whole", silent)
    kept = trained.steps
    assert 0 < kept < STEPS - 4
    assert trained.stopped["stopped_at"] == kept
    assert f"the weights are those after {kept}" in trained.stopped["why_stopped"]
    weights = dict(run.student.state_dict())
    assert _same(weights, _weights_after(kept, tmp_path / "plain"))
    assert _rises(weights)["retain"] <= 0.5 < _rises(_weights_after(kept + 4, tmp_path / "next"))["retain"]

    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == trained.last["step"] == kept + 4
    looks = {line["step"]: line["retain_rise"] for line in lines if "retain_rise" in line}
    assert list(looks) == list(range(4, kept + 5, 4))
    assert [rise > 0.5 for rise in looks.values()] == [False] * (len(looks) - 1) + [True]
    assert looks[kept] == pytest.approx(_rises(weights)["retain"], rel=1e-4)

    for cut in (2, kept - 1, kept + 1, kept + 3):
        with pytest.raises(KeyboardInterrupt):
            train(_run(rule, cut), toys.ALONE, tmp_path / "cut", silent)
    last = _run(rule)
    again = train(last, toys.ALONE, tmp_path / "cut", silent)
    assert again.resumed_from > 0
    assert (again.steps, again.stopped) == (trained.steps, trained.stopped)
    assert _same(weights, dict(last.student.state_dict()))
    assert (tmp_path / "cut" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()

    once_more = _run(rule, cut_at=kept + 4)
    done = train(once_more, toys.ALONE, tmp_path / "whole", silent)  # no step is taken again
    assert done.stopped == trained.stopped
    assert _same(weights, dict(once_more.student.state_dict()))


def test_enough_forgetting_ends_it_where_it_was_reached(tmp_path: Path) -> None:
    rule = Stop(every=3, images=20, retain_rise_at_most=1e6, forget_rise_at_least=0.4)
    run = _run(rule)
    trained = train(run, toys.ALONE, tmp_path / "whole", silent)
    assert trained.steps % 3 == 0
    assert trained.steps < STEPS
    assert "are enough" in trained.stopped["why_stopped"]
    assert _rises(dict(run.student.state_dict()))["forget"] >= 0.4
    assert _rises(_weights_after(trained.steps - 3, tmp_path / "before"))["forget"] < 0.4


def test_a_first_look_that_is_too_far_leaves_the_original(tmp_path: Path) -> None:
    run = _run(Stop(every=30, images=20, retain_rise_at_most=0.0))
    original = toys.built(toys.ToyRecipe()).state_dict()
    assert train(run, toys.ALONE, tmp_path, silent).steps == 0
    assert _same(dict(run.student.state_dict()), original)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    looked, plain = _run(Stop(every=3, retain_rise_at_most=1e6)), _run(None)
    found = train(looked, toys.ALONE, tmp_path / "looked", silent)
    assert "the 40 steps of the budget are done" in found.stopped["why_stopped"]
    assert not train(plain, toys.ALONE, tmp_path / "plain", silent).stopped
    assert _same(dict(looked.student.state_dict()), dict(plain.student.state_dict()))


def test_the_others_do_as_rank_0_found(tmp_path: Path) -> None:
    """A rank that measures nothing ends where it is told to."""

    class Follower(World):
        @property
        def leads(self) -> bool:
            return False

        def told(self, said: str | None) -> str | None:
            assert said is None
            return json.dumps({"retain": 1.0, "forget": 1.0} if next(looks) < 3 else {"retain": 2.0, "forget": 1.0})

    looks = iter(range(100))
    run = _run(Stop(every=5))
    trained = train(run, Follower(0, 1, torch.device("cpu")), tmp_path, silent)
    assert trained.steps == 10  # the original, 5 and 10 are within; 15 is not
    assert _same(dict(run.student.state_dict()), _weights_after(10, tmp_path / "plain"))


def test_no_rule_has_the_digest_it_had(repository: Path) -> None:
    plain = Params.read(repository / "params.yaml")
    ruled = Params.read(repository / "params.yaml", {"unlearn.stop": {"every": 5}})
    assert "stop" not in plain.model_dump()["unlearn"]
    assert ruled.model_dump()["unlearn"]["stop"]["every"] == 5
    assert plain.section_digest("unlearn") != ruled.section_digest("unlearn")
