"""Each attack where the answer is known: a generator of two matrices, pictures that it can invent exactly."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests import toys
from tests.attacks import line
from unlearning.attack import Attack, Curve, Ready
from unlearning.attacks.interpolate import Interpolate
from unlearning.attacks.other_holes import OtherHoles
from unlearning.attacks.relearn import Relearn
from unlearning.contracts import Generator
from unlearning.corruptions.center_hole import CenterHole
from unlearning.errors import ParamsError
from unlearning.recipe import Choice
from unlearning.types import Images, Pair
from unlearning.verbs._kinds import register

register()
FORGET = toys.Pictures("forget", 20)


def run(attack: Attack, target: Generator, known: Generator, forgetting: line.ClosedForget, **sets: Any) -> Curve:
    """The attack on `target`, and its forgetting point by point."""
    found = attack.run(target, line.scene(known, forgetting, **sets), Ready())
    assert isinstance(found, Curve)
    return found


def values(curve: Curve) -> list[float]:
    return [point.value for point in curve.forgetting]


class Unreadable:
    """A set that an attack has no business with."""

    def __len__(self) -> int:
        return 5

    def __call__(self, rows: Tensor) -> Images:
        raise AssertionError("the attacker has no image of this set")


class Empty(Unreadable):
    def __len__(self) -> int:
        return 0


@pytest.fixture
def original() -> Generator:
    return line.original()


@pytest.fixture
def target(original: Generator) -> Generator:
    return line.blinded(original)


def test_the_toy_is_what_it_says(original: Generator, target: Generator) -> None:
    forgetting = line.ClosedForget(FORGET, original)
    assert forgetting(target).value == pytest.approx(1)
    shown = line.HOLE(FORGET.images, line.DRAWS)
    torch.testing.assert_close(original.reconstruct(shown, line.DRAWS), FORGET.images, atol=1e-4, rtol=0)


def test_walking_back_a_linear_encoder_forgets_by_the_square_of_what_is_left(
    original: Generator, target: Generator
) -> None:
    """With E = s E0 the picture is s x, so the error is (1 - s)^2 of the grey's."""
    curve = run(Interpolate(steps=4), target, original, line.ClosedForget(FORGET, original))
    assert curve.effort == [0, 0.25, 0.5, 0.75, 1]
    assert values(curve) == pytest.approx([(1 - share) ** 2 for share in curve.effort], abs=1e-4)
    assert values(curve)[-1] == 0  # to the bit: these are the original's weights


def test_only_the_part_that_is_named_walks(original: Generator, target: Generator) -> None:
    with torch.no_grad():
        target.get_parameter("out.weight").mul_(0.5)
    seen = {}
    for part in ("encoder", "all"):
        forgetting = line.ClosedForget(FORGET, original)
        run(Interpolate(steps=2, part=part), target, original, forgetting)
        seen[part] = forgetting.seen[-1]
    for name, weight in original.state_dict().items():
        assert torch.equal(seen["all"][name], weight)
    assert torch.equal(seen["encoder"]["into.weight"], original.get_parameter("into.weight"))
    assert torch.equal(seen["encoder"]["out.weight"], target.get_parameter("out.weight"))


def test_relearning_on_every_forget_image_brings_the_original_back(original: Generator, target: Generator) -> None:
    """The error is a convex function of the encoder alone, and 0 at its least: there is nowhere else to go."""
    attack = Relearn(source="forget", steps=(0, 20, 200), learning_rate=2e-2, part="encoder")
    forgetting = line.ClosedForget(FORGET, original)
    curve = run(attack, target, original, forgetting, forget=FORGET, retain=Unreadable())
    assert curve.effort == [0, 20, 200]
    assert values(curve)[0] == pytest.approx(1)
    assert values(curve)[0] > values(curve)[1] > values(curve)[2]
    assert values(curve)[2] < 0.01


def test_one_step_is_adams_along_the_gradient_of_the_generators_own_loss(
    original: Generator, target: Generator
) -> None:
    """AdamW's first step moves each weight by learning_rate g / (|g| + 1e-8)."""
    one = toys.Pictures("one", 1)  # so that every draw of rows is the same one
    forgetting = line.ClosedForget(FORGET, original)
    attack = Relearn(source="forget", steps=(0, 1), learning_rate=1e-3)
    run(attack, target, original, forgetting, forget=one)
    shown = Pair(one.images, line.HOLE(one.images, line.DRAWS), torch.zeros(1, dtype=torch.int64))
    target.loss(shown, target.draw_view(shown.corrupted, line.DRAWS)).mean().backward()
    for name, weight in target.named_parameters():
        assert weight.grad is not None
        step = 1e-3 * weight.grad / (weight.grad.abs() + 1e-8)
        torch.testing.assert_close(forgetting.seen[1][name], weight.detach() - step, atol=1e-6, rtol=0)


def test_relearning_for_no_step_is_to_look(original: Generator, target: Generator) -> None:
    forgetting = line.ClosedForget(FORGET, original)
    curve = run(Relearn(steps=(0,)), target, original, forgetting)
    assert curve.effort == [0]
    assert values(curve) == [forgetting(target).value]


def test_a_longer_attack_passes_through_the_points_of_a_shorter_one(original: Generator, target: Generator) -> None:
    """So measuring more often changes nothing of what is measured."""
    forgetting = line.ClosedForget(FORGET, original)
    often = run(Relearn(steps=(0, 2, 3, 5)), target, original, forgetting)
    once = run(Relearn(steps=(3,)), target, original, forgetting)
    assert values(once) == [values(often)[2]]


def test_the_attacker_has_k_images_and_no_other(original: Generator, target: Generator) -> None:
    asked: set[int] = set()

    class Watched(toys.Pictures):
        def __call__(self, rows: Tensor) -> Images:
            asked.update(rows.tolist())
            return super().__call__(rows)

    sets = {"forget": Watched("forget", 20), "retain": Unreadable()}
    attack = Relearn(source="forget", images=4, steps=(20,), batch_size=8)
    run(attack, target, original, line.ClosedForget(FORGET, original), **sets)
    assert asked == {0, 5, 10, 15}


def test_relearning_on_retain_images_never_opens_a_forget_image(original: Generator, target: Generator) -> None:
    attack, forgetting = Relearn(source="retain", steps=(0, 5)), line.ClosedForget(FORGET, original)
    curve = values(run(attack, target, original, forgetting, forget=Unreadable()))
    assert curve[1] < curve[0]  # one line for all pictures: here they do help


def test_the_encoder_stays_where_only_the_decoder_learns_or_walks(original: Generator, target: Generator) -> None:
    forgetting = line.ClosedForget(FORGET, original)
    with torch.no_grad():
        target.get_parameter("out.weight").mul_(0.5)
        target.get_parameter("into.weight").fill_(0.1)
    run(Relearn(steps=(3,), part="decoder"), target, original, forgetting)
    run(Interpolate(steps=1, part="decoder"), target, original, forgetting)
    assert all(torch.equal(seen["into.weight"], target.get_parameter("into.weight")) for seen in forgetting.seen)
    assert not torch.equal(forgetting.seen[0]["out.weight"], target.get_parameter("out.weight"))
    assert torch.equal(forgetting.seen[-1]["out.weight"], original.get_parameter("out.weight"))


def test_the_decoder_stays_where_only_the_encoder_learns(original: Generator, target: Generator) -> None:
    forgetting = line.ClosedForget(FORGET, original)
    run(Relearn(steps=(3,), part="encoder"), target, original, forgetting)
    assert torch.equal(forgetting.seen[0]["out.weight"], target.get_parameter("out.weight"))
    assert not torch.equal(forgetting.seen[0]["into.weight"], target.get_parameter("into.weight"))


def test_an_empty_set_teaches_nothing_and_is_named(original: Generator) -> None:
    forgetting = line.ClosedForget(FORGET, original)
    scene = line.scene(original, forgetting, forget=Empty())
    assert Relearn(source="forget").why_not(scene) == "the forget set is empty"
    assert Relearn(source="retain").why_not(scene) is None


def test_a_generator_that_is_held_still_cannot_be_trained(original: Generator, target: Generator) -> None:
    with pytest.raises(ParamsError, match="part 'all' leaves nothing to train"):
        run(Relearn(), target.requires_grad_(False), original, line.ClosedForget(FORGET, original))


@pytest.mark.parametrize("steps", [(), (3, 2), (1, 1), (-1, 2), (0, 10_001)])
def test_steps_that_are_no_rising_budget_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ParamsError, match="steps"):
        Relearn.chosen(Choice(kind="relearn", steps=steps))


def test_a_hole_that_was_never_unlearned_shows_what_is_left() -> None:
    """A model that was blinded where the usual hole is looked around, and left as it was elsewhere."""
    known = line.original()
    inside = ~CenterHole(side=0.5)(FORGET.images[:1], line.DRAWS).missing.flatten()
    target = copy.deepcopy(known)
    with torch.no_grad():
        target.get_parameter("into.weight")[:, ~inside] = 0  # blind to the ring between the small and the large hole
    forgetting = line.ClosedForget(FORGET, known)
    attack = OtherHoles(corruptions=(Choice(kind="center_hole", side=0.5), Choice(kind="half", side="left")))
    curve = run(attack, target, known, forgetting)
    assert curve.effort == [0, 1, 2]
    assert values(curve)[0] > 0.05
    larger = curve.forgetting[1]
    np.testing.assert_array_equal(larger.errors, larger.original)  # what it is blind to is taken away: the same picture
    assert [hole.kind for hole in forgetting.asked] == ["center_hole", "center_hole", "half"]


@pytest.mark.parametrize(
    ("hole", "said"),
    [
        ({"kind": "greyscale"}, "'greyscale' is no hole"),
        ({"kind": "hole"}, r"corruptions\.0: no corruption of kind 'hole'"),
        ({"kind": "half", "sides": 1}, "no key 'sides'"),
    ],
)
def test_what_is_no_hole_is_refused_when_it_is_chosen(hole: dict[str, object], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        OtherHoles.chosen(Choice(kind="other_holes", corruptions=[hole]))


def test_holes_that_do_not_fit_or_are_the_usual_one_are_left_out_where_that_is_asked_for() -> None:
    """A crop of 2 x 2 pixels is the evaluation's own by another name; 3 does not divide 8."""
    known = line.original()
    forgetting = line.ClosedForget(FORGET, known)
    holes = ({"kind": "center_hole", "pixels": 2}, {"kind": "random_patches", "patch": 3}, {"kind": "half"})
    attack = OtherHoles(corruptions=tuple(Choice.model_validate(hole) for hole in holes), fitting_only=True)
    curve = run(attack, known, known, forgetting)
    assert curve.places == ("center_hole, as evaluated", "half")
    scene = line.scene(known, forgetting)
    assert attack.why_not(scene) is None
    none = attack.model_copy(update={"corruptions": attack.corruptions[:2]})
    assert none.why_not(scene) == "no other hole fits these images and this generator"
    with pytest.raises(ParamsError, match="patch 3 does not divide"):
        run(attack.model_copy(update={"fitting_only": False}), known, known, forgetting)
