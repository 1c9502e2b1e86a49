"""Every attack, because it is registered, on every generator."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from tests import toys
from unlearning.attack import Attack, Curve, Finding, Forgetting, Forgotten, Group, Scene, Shown
from unlearning.contracts import Corruption, Generator
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.randomness import Draws
from unlearning.rules import Profile
from unlearning.verbs._kinds import register

register()
RECIPES = toys.recipes()
# Fields of the attacks that have no default, or one that is too long for a test.
SHORT: dict[str, dict[str, Any]] = {
    "exposure": {"views": 1, "drawings": 1},
    "fresh_decoder": {"steps": (0, 1), "batch_size": 4, "width": 8, "depth": 1, "views": 1},
    "interpolate": {"steps": 2},
    "inverse_network": {"steps": (0, 1), "pictures": 4, "batch_size": 4, "width": 8, "depth": 1},
    "membership": {"views": 2},
    "other_holes": {"corruptions": [{"kind": "center_hole"}]},
    "probe": {"views": 1, "neighbours": 3},
    "partial_diffusion": {"psi": (0.5,)},
    "perturbed": {"jpeg": (50,), "noise": (), "adversarial": (0.1,), "adversarial_steps": 1},
    "relearn": {"steps": (0, 2), "batch_size": 4},
    "retained_privacy": {"views": 1},
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

    def scene(self, seed: int = 0, forgetting: Forgetting | None = None) -> Scene:
        groups = [
            Group(name, toys.Pictures(name, count), [f"class {row % 2}" for row in range(count)])
            for name, count in (("forget", 6), ("forget_holdout", 6), ("retain", 12), ("holdout", 12))
        ]
        draws = Draws(seed, 4, where=("attack",))
        scored = forgetting or self.forgetting
        return Scene(self.original, self.original, *groups, RandomPatches(), scored, draws, CPU, 8)

    def find(self, seed: int = 0, forgetting: Forgetting | None = None) -> Finding:
        scene = self.scene(seed, forgetting)
        return self.attack.run(self.target, scene, self.attack.prepare(scene))

    @torch.no_grad()
    def forgetting(
        self, generator: Generator, corruption: Corruption | None = None, shown: Shown | None = None
    ) -> Forgotten:
        """How far its pictures are from the original's: 0 for the original itself."""
        assert not generator.training
        draws, clean = Draws(7, 3, where=("score",)), toys.pictures("forget", 3)
        seen = (corruption or RandomPatches())(clean, draws)
        pictures = []
        for one in (generator, self.original):
            sight = seen if shown is None else replace(seen, images=shown(one, clean, seen, draws.at("shown")))
            pictures.append(one.reconstruct(sight, draws))
        apart = (pictures[0] - pictures[1]).double().square().flatten(1).mean(1).numpy()
        return Forgotten(apart, np.zeros(3), np.ones(3))


@dataclass(frozen=True)
class Attacked:
    """A setting after the same attack was made twice; what there was to compare with was kept before."""

    setting: Setting
    first: Finding
    second: Finding
    before: dict[str, dict[str, torch.Tensor]]
    trainable: list[bool]
    streams: tuple[torch.Tensor, torch.Tensor]  # torch's, before and after the first


def _can(attack: str, kind: str) -> bool:
    """Whether the generator is what the attack, as it is made here, needs."""
    needed = Attack.kinds[attack](**SHORT.get(attack, {})).needs()
    return issubclass(Generator, needed) or any(issubclass(each, needed) for each in type(RECIPES[kind]).abilities)


PAIRS = [(attack, kind) for attack in sorted(Attack.kinds) for kind in RECIPES if _can(attack, kind)]


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def attacked(request: pytest.FixtureRequest) -> Attacked:
    setting = Setting(*request.param)
    before = {name: copy.deepcopy(getattr(setting, name).state_dict()) for name in ("target", "original")}
    trainable = [weight.requires_grad for weight in setting.target.parameters()]
    torch.manual_seed(3)
    stream = torch.get_rng_state()
    first = setting.find()
    streams = (stream, torch.get_rng_state())
    torch.manual_seed(4)  # whatever else draws from it
    return Attacked(setting, first, setting.find(), before, trainable, streams)


def test_what_it_found_is_whole(attacked: Attacked) -> None:
    """A curve begins with the target as it is and goes on in order; a telling has a score for every image."""
    found = attacked.first
    if isinstance(found, Curve):
        assert len(found.effort) == len(found.forgetting) >= 2
        assert list(found.effort) == sorted(set(found.effort))
        assert found.effort[0] == 0
        assert found.effort_unit
        assert not found.places or len(found.places) == len(found.effort)
        return
    names = [one.name for one in found.separations]
    assert names
    assert len(set(names)) == len(names)
    for one in found.separations:
        assert one.one.ndim == one.other.ndim == 1
        assert len(one.one) >= 1
        assert len(one.other) >= 1
        assert np.isfinite(one.one).all()
        assert np.isfinite(one.other).all()
        assert one.one.dtype == one.other.dtype == np.float64


def test_the_same_attack_finds_the_same(attacked: Attacked) -> None:
    for first, second in zip(_numbers(attacked.first), _numbers(attacked.second), strict=True):
        np.testing.assert_array_equal(first, second)


def _numbers(found: Finding) -> list[Any]:
    if isinstance(found, Curve):
        return [list(found.effort), *(point.errors for point in found.forgetting), list(found.numbers.values())]
    return [*(part for one in found.separations for part in (one.one, one.other)), list(found.numbers.values())]


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

    def forgetting(generator: Generator, corruption: Corruption | None = None, shown: Shown | None = None) -> Forgotten:
        seen.append(copy.deepcopy(generator.state_dict()))
        return setting.forgetting(generator, corruption, shown)

    found = setting.find(forgetting=forgetting)
    assert isinstance(found, Curve)
    assert found.forgetting[-1].value == 0
    for walked, own in zip((seen[0], seen[-1]), (setting.target, setting.original), strict=True):
        assert all(torch.equal(value, walked[name]) for name, value in own.state_dict().items())


def test_what_relearning_draws_depends_on_the_seed() -> None:
    setting = Setting("relearn", "mae")
    first, second = _numbers(setting.find(0)), _numbers(setting.find(1))
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[2], second[2])


@pytest.mark.parametrize("profile", ["quick", "standard", "audit"])
def test_a_larger_profile_makes_every_kind_that_a_smaller_one_does(profile: Profile) -> None:
    order: tuple[Profile, ...] = ("quick", "standard", "audit")
    smaller = order[: order.index(profile)]
    for kind in Attack.kinds.values():
        made = kind.of_profile(profile)
        assert all(isinstance(attack, kind) for attack in made)
        assert made or not any(kind.of_profile(other) for other in smaller)
        assert made or profile != "audit"


def test_it_says_where_it_comes_from() -> None:
    for kind in Attack.kinds.values():
        assert kind.paper()
        assert 2 <= len(kind.tries.split()) <= 8
        assert all(field.description for field in kind.model_fields.values())
