"""Every attack, because it is registered, on every generator."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tests import toys
from unlearning.contracts import Attack, Corruption, Curve, Forgetting, Generator, Preparation
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.randomness import Draws
from unlearning.verbs._kinds import register

register()
RECIPES = toys.recipes()
# Fields of the attacks that have no default, or one that is too long for a test.
SHORT: dict[str, dict[str, Any]] = {
    "interpolate": {"steps": 2},
    "other_holes": {"corruptions": [{"kind": "center_hole"}]},
    "relearn": {"steps": (0, 2), "batch_size": 4},
}
CPU = torch.device("cpu")


class Setting:
    """An attack, a target that has moved a little from its original, and what tells the two apart."""

    def __init__(self, attack: str, kind: str) -> None:
        self.attack = Attack.kinds[attack](**SHORT.get(attack, {}))
        self.original = toys.built(RECIPES[kind]).eval().requires_grad_(False)
        self.target = copy.deepcopy(toys.built(RECIPES[kind])).eval()
        with torch.no_grad():
            for weight in self.target.encoder_parameters().values():
                weight.mul_(1.1).add_(0.01)

    def curve(self, seed: int = 0, forgetting: Forgetting | None = None) -> Curve:
        forget, retain = toys.Pictures("forget", 6), toys.Pictures("retain", 12)
        draws = Draws(seed, 4, where=("attack",))
        return self.attack.curve(
            self.target,
            Preparation(self.original, forget, retain, RandomPatches(), draws, CPU),
            forgetting or self.forgetting,
        )

    @torch.no_grad()
    def forgetting(self, generator: Generator, corruption: Corruption | None = None) -> float:
        """How far its pictures are from the original's: 0 for the original itself."""
        assert not generator.training
        draws = Draws(7, 3, where=("score",))
        shown = (corruption or RandomPatches())(toys.pictures("forget", 3), draws)
        first, second = (one.reconstruct(shown, draws) for one in (generator, self.original))
        return float((first - second).square().mean())


@dataclass(frozen=True)
class Attacked:
    """A setting after the same attack was made twice; what there was to compare with was kept before."""

    setting: Setting
    first: Curve
    second: Curve
    before: dict[str, dict[str, torch.Tensor]]
    trainable: list[bool]
    streams: tuple[torch.Tensor, torch.Tensor]  # torch's, before and after the first


@pytest.fixture(scope="module", params=[(a, k) for a in sorted(Attack.kinds) for k in RECIPES], ids="-".join)
def attacked(request: pytest.FixtureRequest) -> Attacked:
    setting = Setting(*request.param)
    before = {name: copy.deepcopy(getattr(setting, name).state_dict()) for name in ("target", "original")}
    trainable = [weight.requires_grad for weight in setting.target.parameters()]
    torch.manual_seed(3)
    stream = torch.get_rng_state()
    first = setting.curve()
    streams = (stream, torch.get_rng_state())
    torch.manual_seed(4)  # whatever else draws from it
    return Attacked(setting, first, setting.curve(), before, trainable, streams)


def test_it_begins_with_the_target_as_it_is_and_goes_on_in_order(attacked: Attacked) -> None:
    curve = attacked.first
    assert len(curve.effort) == len(curve.forgetting) >= 2
    assert list(curve.effort) == sorted(set(curve.effort))
    assert curve.effort[0] == 0
    assert curve.forgetting[0] == attacked.setting.forgetting(attacked.setting.target)
    assert curve.effort_unit


def test_the_same_attack_gives_the_same_curve(attacked: Attacked) -> None:
    assert attacked.second == attacked.first


def test_target_original_and_torchs_stream_are_as_before(attacked: Attacked) -> None:
    for name, before in attacked.before.items():
        generator = getattr(attacked.setting, name)
        after = generator.state_dict()
        assert all(torch.equal(value, after[key]) for key, value in before.items()), name
        assert all(weight.grad is None for weight in generator.parameters())
        assert not generator.training
    assert attacked.trainable == [weight.requires_grad for weight in attacked.setting.target.parameters()]
    assert torch.equal(*attacked.streams)


@pytest.mark.parametrize("kind", RECIPES)
def test_an_encoder_walked_all_the_way_back_draws_what_the_original_draws(kind: str) -> None:
    """To the bit, in every family whose decoder unlearning left alone: the first point is the target's own encoder."""
    setting, seen = Setting("interpolate", kind), []

    def forgetting(generator: Generator, corruption: Corruption | None = None) -> float:
        seen.append(copy.deepcopy(generator.state_dict()))
        return setting.forgetting(generator, corruption)

    assert setting.curve(forgetting=forgetting).forgetting[-1] == 0
    for walked, own in zip((seen[0], seen[-1]), (setting.target, setting.original), strict=True):
        assert all(torch.equal(value, walked[name]) for name, value in own.state_dict().items())


def test_what_relearning_draws_depends_on_the_seed() -> None:
    setting = Setting("relearn", "mae")
    first, second = setting.curve(0), setting.curve(1)
    assert first.forgetting[0] == second.forgetting[0]
    assert first.forgetting[1] != second.forgetting[1]


def test_it_says_where_it_comes_from() -> None:
    for kind in Attack.kinds.values():
        assert kind.paper()
        assert all(field.description for field in kind.model_fields.values())
