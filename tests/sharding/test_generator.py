"""A generator of shards: one member a picture, and every member's word on how well a picture is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests import toys
from unlearning.abilities import Scoring
from unlearning.contracts import GeneratorRecipe
from unlearning.corruptions.everything import Everything
from unlearning.errors import ParamsError
from unlearning.generators._sharded import Sharded, of_members
from unlearning.generators.sharded import ShardedRecipe
from unlearning.params import Params
from unlearning.randomness import Draws
from unlearning.recipe import Choice
from unlearning.types import Images, Pair, PerImage
from unlearning.verbs import _kinds

_kinds.register()
COUNTS = [1, 6, 3]


def whole(kind: str = "mae") -> Sharded:
    """Three members of different weights, of 1, 6 and 3 images."""
    recipe = GeneratorRecipe.kinds[kind](**toys.SMALLEST[kind])
    made = of_members([toys.built(recipe, seed) for seed in range(3)])
    made.images.copy_(torch.tensor(COUNTS))
    return made.eval()


def test_a_picture_with_a_hole_is_made_by_the_member_that_its_content_names() -> None:
    generator = whole()
    corrupted = toys.pair("retain", 32).corrupted
    first, again = (generator.route(corrupted, Draws(seed, 32)) for seed in (0, 1))
    assert torch.equal(first, again)
    assert set(first.tolist()) == {0, 1, 2}
    generator.images.copy_(torch.tensor([1, 1, 9]))
    assert torch.equal(generator.route(corrupted, Draws(0, 32)), first), "a deletion reroutes no picture"
    alone = generator.route(toys.pair("retain", 32).corrupted.of(toys.pictures("retain", 32)), Draws(0, 32))
    assert torch.equal(alone, first)


def test_a_picture_drawn_from_nothing_is_made_by_a_member_as_often_as_it_has_images() -> None:
    """1,000 draws of shares 0.1, 0.6, 0.3; the standard error is below 0.016."""
    nothing = Everything()(torch.zeros(1_000, 1, toys.SIDE, toys.SIDE), Draws(0, 1_000))
    chosen = whole().route(nothing, Draws(0, 1_000))
    torch.testing.assert_close(chosen.bincount(minlength=3) / 1_000, torch.tensor([0.1, 0.6, 0.3]), atol=0.05, rtol=0)


@pytest.mark.parametrize("kind", ["mae", "ddpm"])
def test_each_picture_is_its_own_member_s_with_the_draws_of_its_row(kind: str) -> None:
    generator, corrupted = whole(kind), toys.pair("retain", 6).corrupted
    made = generator.reconstruct(corrupted, Draws(3, 6))
    chosen = generator.route(corrupted, Draws(3, 6))
    by_all: Any = [member.reconstruct(corrupted, Draws(3, 6)) for member in generator.shard]  # type: ignore[operator]
    for row, number in enumerate(chosen.tolist()):
        torch.testing.assert_close(made[row], by_all[number][row], atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_members_mean_by_their_images() -> None:
    generator, pair = whole(), toys.pair("retain")
    view = generator.draw_view(pair.corrupted, Draws(0, 4))
    losses: Any = [member.loss(pair, view[1:]) for member in generator.shard]  # type: ignore[operator]
    expected = sum(count / 10 * loss for count, loss in zip(COUNTS, losses, strict=True))
    torch.testing.assert_close(generator.loss(pair, view), expected)


class Said(toys.ToyGenerator, Scoring):
    """A member whose - log p is what it was told, whatever the picture."""

    def __init__(self, surprise: float) -> None:
        super().__init__(toys.SIDE**2)
        self._said = surprise

    def surprise(self, pair: Pair, draws: Draws) -> PerImage:
        return torch.full((len(pair),), self._said)

    def surprise_of_nothing(self, pair: Pair, draws: Draws, mean: Images, variance: Images) -> PerImage:
        return torch.full((len(pair),), 9.0)


def test_members_that_score_pictures_make_a_whole_that_does_and_bounds_the_mixture() -> None:
    mixture = of_members([Said(value) for value in (1.0, 2.0, 4.0)])
    mixture.images.copy_(torch.tensor(COUNTS))
    pair, one = toys.pair("retain"), torch.ones(1)
    assert isinstance(mixture, Scoring)
    assert not isinstance(whole(), Scoring)
    said = mixture.surprise(pair, Draws(0, 4))
    torch.testing.assert_close(said, torch.full((4,), 0.1 * 1 + 0.6 * 2 + 0.3 * 4))
    weights, surprise = torch.tensor([0.1, 0.6, 0.3]), torch.tensor([1.0, 2.0, 4.0])
    assert said[0] > -(weights * (-surprise).exp()).sum().log()
    assert mixture.surprise_of_nothing(pair, Draws(0, 4), one, one)[0] == 9


def test_two_spellings_of_one_member_are_one_recipe() -> None:
    """So that a checkpoint is not refused because a default was written out."""
    short, long = ({"kind": "ddpm"}, {"kind": "ddpm", "widths": (32, 64), "train_steps": 1000})
    assert ShardedRecipe(of=Choice(**short)) == ShardedRecipe(of=Choice.model_validate(long))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator.of": {"kind": "sharded"}}, "a member is one network, so it cannot be 'sharded' again"),
        ({"generator.of": {"kind": "mea"}}, r"generator\.of: no generator of kind 'mea'; known kinds: ddpm"),
        (
            {"unlearn.method": {"kind": "noise_target"}},
            "'noise_target' moves the members .* 'sharded' .*; sisa is right",
        ),
        (
            {"generator": {"kind": "mae"}},
            "'sisa' with these fields needs a generator that is Sharding, and 'mae' is not",
        ),
        (
            {"corruption": {"kind": "everything"}},
            "'everything' leaves no pixel as it was, and generator 'mae' reads only",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_sentence(repository: Any, changes: Any, said: str) -> None:
    chosen = {"generator": {"kind": "sharded", "of": {"kind": "mae"}}, "unlearn.method": {"kind": "sisa"}}
    with pytest.raises(ParamsError, match=said):
        _kinds.check(Params.read(repository / "params.yaml", {**chosen, **changes}))


def test_a_member_that_is_told_nothing_may_be_shown_nothing(repository: Any) -> None:
    chosen = {"generator": {"kind": "sharded", "of": {"kind": "ddpm"}}, "corruption": {"kind": "everything"}}
    _kinds.check(Params.read(repository / "params.yaml", {**chosen, "unlearn.method": {"kind": "sisa"}}))
