"""Probes of encoders that say what they see, at one depth or another; alignment against its definition."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from tests import toys
from tests.attacks import crowd, line
from unlearning.abilities import Layered
from unlearning.attack import Group, Scene, Told
from unlearning.attacks import _known_by, _told_apart
from unlearning.attacks._alignment import cka
from unlearning.attacks.probe import Probe
from unlearning.contracts import Generator
from unlearning.types import Latents, Pair, View
from unlearning.verbs._kinds import register

ATTACK = Probe(views=1)
RNG = np.random.default_rng(0)


class Deep(line.Line):
    """Two maps: one that sees next to nothing, and one that is a linear map of what is visible."""

    def __init__(self) -> None:
        super().__init__(crowd.PIXELS, 8)
        self.first = nn.Linear(crowd.PIXELS, 8, bias=False)

    def encode(self, pair: Pair, view: View) -> Latents:
        seen = pair.corrupted.images.flatten(1)
        return self.first(seen), self.into(seen)


def deep(first: float, second: float) -> Deep:
    """Maps that see so much of the mean of the picture's border."""
    made = Deep().eval().requires_grad_(False)
    for map_, share in ((made.first, first), (made.into, second)):
        map_.weight.copy_(0.1 * torch.from_numpy(RNG.normal(size=(8, crowd.PIXELS))))
        map_.weight[0] = share
    return made


def lighter() -> Scene:
    """Images to forget that are lighter than the others by less than a pixel varies."""
    model = deep(0.0, 1.0)
    forget = crowd.Crowd((crowd.noise("forget") + 0.5).clamp(-1, 1))
    return crowd.scene(model, model, forget=forget)


def find(target: Generator, scene: Scene) -> Told:
    return ATTACK.run(target, scene, ATTACK.prepare(scene))


def areas(told: Told) -> dict[str, float]:
    return {one.name: crowd.apart(one).auc for one in told.separations}


def test_what_an_encoder_reads_is_told_at_its_depth_and_what_it_does_not_is_not() -> None:
    scene = lighter()
    told = find(scene.original, scene)
    found = areas(told)
    assert list(found) == ["depth 2, linear", "depth 1, linear", "depth 1, k-NN", "depth 2, k-NN"]
    assert crowd.apart(told.separations[0]).low > 0.8
    assert found["depth 2, k-NN"] > 0.7
    assert [len(part) for part in (told.separations[0].one, told.separations[0].other)] == [24, 24]


def test_an_encoder_that_moved_its_last_layer_alone_is_read_at_the_first() -> None:
    """The headline is at the depth where the original is read best, whatever became of it."""
    scene = replace(lighter(), original=deep(1.0, 0.9))
    target = copy.deepcopy(scene.original)
    target.get_parameter("into.weight").zero_()
    told = find(target, scene)
    found = areas(told)
    assert found["depth 2, linear"] == found["depth 2, k-NN"] == 0.5
    assert found["depth 1, linear"] > 0.9
    assert told.numbers["CKA to the original, forget, depth 1"] == pytest.approx(1)
    assert np.isnan(told.numbers["CKA to the original, forget, depth 2"])
    assert told.numbers["CKA to the reference, held out, depth 1"] < 0.9


def test_images_of_one_kind_are_not_told_apart() -> None:
    """Of 150 images of both an AUC of chance deviates by 0.033, and a judge fitted to others of them adds as much."""
    model = deep(1.0, 1.0)
    sets = {name: crowd.Crowd(crowd.noise(name, 150)) for name in ("forget", "holdout")}
    found = areas(find(model, crowd.scene(model, model, **sets)))
    assert all(abs(area - 0.5) < 0.12 for area in found.values()), found


def test_a_model_that_is_no_number_is_no_error() -> None:
    scene = lighter()
    target = copy.deepcopy(scene.original)
    target.get_parameter("into.weight")[0, 0] = np.nan
    told = find(target, scene)
    assert np.isnan(told.separations[0].one).all()
    assert np.isnan(told.numbers["CKA to the original, forget, depth 2"])


@pytest.mark.parametrize("kind", ["mae", "mage"])
def test_a_family_of_blocks_is_read_at_each_and_the_last_is_what_it_encodes(kind: str) -> None:
    register()
    model = toys.built(toys.recipes()[kind]).eval()
    assert isinstance(model, Layered)
    pair = toys.pair("retain")
    view = model.draw_view(pair.corrupted, line.DRAWS)
    with torch.no_grad():
        depths, (last,) = model.depths(pair, view), model.encode(pair, view)
    assert len(depths) == len(model.get_submodule("blocks"))
    assert torch.equal(depths[-1], last)
    assert depths[0].shape == last.shape
    assert not torch.equal(depths[0], last)
    read = _known_by.embedded(model, crowd.scene(model, model).forget, crowd.scene(model, model), 2)
    assert [part.shape for part in read] == [(24, 2 * last.shape[2])] * len(depths)


def test_it_says_which_set_has_too_few() -> None:
    scene = lighter()
    one = Group("forget", crowd.Crowd(crowd.noise("one", 1)), ["0"])
    assert ATTACK.why_not(replace(scene, forget=one)) == "the forget set has 1 images, and 2 are the fewest"


def test_nobody_is_told_of_what_is_guessed() -> None:
    """A judge that answers what it was told of an image, if it was told of it, and else nothing."""
    one, other = RNG.normal(size=(7, 3)), RNG.normal(size=(9, 3))
    asked_of = []

    def knows_by_heart(told: np.ndarray, truth: np.ndarray, asked: np.ndarray) -> np.ndarray:
        asked_of.append(len(asked))
        assert {0.0, 1.0} == set(truth.tolist())
        near = np.abs(told[None] - asked[:, None]).max(2) < 1e-9
        return np.where(near.any(1), 1.0, 0.0)

    found = _told_apart.guessed("", knows_by_heart, one, other)
    assert not found.one.any()
    assert not found.other.any()
    assert sum(asked_of) == 16
    assert len(asked_of) == 5


def test_alignment_is_blind_to_rotation_shift_and_one_scale() -> None:
    features = RNG.normal(size=(40, 6))
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    assert cka(features, features) == pytest.approx(1)
    assert cka(features, 5 * features @ rotation + 3) == pytest.approx(1)
    assert cka(features, features * [9, 1, 1, 1, 1, 1]) < 0.9


def test_alignment_of_what_has_nothing_in_common_is_about_nothing_even_of_wide_features() -> None:
    one, other = RNG.normal(size=(2, 60, 500))
    centred = one - one.mean(0), other - other.mean(0)
    biased = np.square(centred[0].T @ centred[1]).sum() / np.prod([np.linalg.norm(part.T @ part) for part in centred])
    assert biased > 0.8
    assert abs(cka(one, other)) < 0.1


def test_alignment_is_the_mean_over_all_fours_of_images() -> None:
    """HSIC as Song et al. define it, equation 4: over ordered (i, j, q, r), k_ij (l_ij + l_qr - 2 l_iq)."""
    one, other = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))

    def hsic(first: np.ndarray, second: np.ndarray) -> float:
        k, l_ = first @ first.T, second @ second.T
        fours = permutations(range(len(first)), 4)
        return float(np.mean([k[i, j] * (l_[i, j] + l_[q, r] - 2 * l_[i, q]) for i, j, q, r in fours]))

    wanted = hsic(one, other) / np.sqrt(hsic(one, one) * hsic(other, other))
    assert cka(one, other) == pytest.approx(wanted)


def test_alignment_says_nothing_of_three_images_or_of_what_does_not_vary() -> None:
    features = RNG.normal(size=(9, 4))
    assert np.isnan(cka(features[:3], features[:3]))
    assert np.isnan(cka(features, np.ones((9, 4))))
