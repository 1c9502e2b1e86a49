"""Exposure of models that draw what they had to forget worse than what they never saw, or no worse."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.attacks import crowd, line
from unlearning.attack import Group, Told
from unlearning.attacks.exposure import Exposure, _stand_out
from unlearning.contracts import Generator
from unlearning.corruptions.everything import Everything

ATTACK = Exposure(views=1, drawings=1)
REFERENCE = crowd.knows("retain")


def find(target: Generator, **sets: crowd.Crowd) -> Told:
    scene = crowd.scene(REFERENCE, REFERENCE, **sets)
    return ATTACK.run(target, scene, ATTACK.prepare(scene))


def areas(told: Told) -> dict[str, float]:
    return {one.name: crowd.apart(one).auc for one in told.separations}


def test_one_that_draws_lighter_what_is_lighter_betrays_a_class_of_light_images_beyond_the_reference() -> None:
    """What the class alone tells, the reference shows; the embeddings of both are the same."""
    light = crowd.Crowd((crowd.noise("forget") + 0.5).clamp(-1, 1))
    target = copy.deepcopy(REFERENCE)
    with torch.no_grad():
        target.out.weight.add_(9 / crowd.PIXELS)  # nine times the mean of what is seen, at every pixel
    told, plain = find(target, forget=light), find(REFERENCE, forget=light)
    found, without = areas(told), areas(plain)
    assert list(found)[:2] == ["all scores together", "outputs alone"]
    assert found["own loss"] > without["own loss"] + 0.2
    assert found["outputs alone"] > without["outputs alone"] + 0.2
    assert found["embedding norm"] == without["embedding norm"]
    assert crowd.apart(told.separations[0]).low > 0.8
    assert told.two_sided
    assert told.beside == "reference"


def test_one_that_never_saw_them_does_not() -> None:
    for separation in find(REFERENCE).separations[:2]:
        found = crowd.apart(separation)
        assert found.low < 0.5 < found.high


def test_one_that_draws_all_alike_and_encodes_the_forgotten_as_nothing_is_read_inside() -> None:
    """An encoder that projects what it sees of the forget images away: |z| is 0 of these alone."""
    target = copy.deepcopy(REFERENCE)
    seen = line.HOLE(crowd.noise("forget"), line.DRAWS).images.flatten(1)
    with torch.no_grad():
        target.into.weight.sub_(torch.linalg.pinv(seen) @ seen)
        target.out.weight.zero_()
    found = areas(find(target))
    assert found["embedding norm"] == 0
    assert found["all scores together"] > 0.95
    assert 0.2 < found["outputs alone"] < 0.8


def test_embeddings_stand_out_as_far_as_their_deviations_say() -> None:
    """Of N(0, diag (1, 100)) in the mean: the distance is ruled by the second axis, Mahalanobis by both alike."""
    known = np.random.default_rng(0).normal(size=(20_000, 2)) * [1.0, 10.0]
    found = _stand_out(np.array([[3.0, 0.0], [0.0, 30.0]]) + known.mean(0), known)
    assert found["Mahalanobis distance"] == pytest.approx([3, 3], rel=0.03)
    assert found["embedding distance"] == pytest.approx([3, 30])


def test_where_nothing_is_shown_nothing_is_drawn() -> None:
    model = crowd.Remembers([crowd.noise("retain")])
    scene = replace(crowd.scene(model, model), corruption=Everything())
    names = [one.name for one in ATTACK.run(model, scene, ATTACK.prepare(scene)).separations]
    assert "own loss" in names
    assert "reconstruction" not in names


def test_an_encoder_that_says_the_same_of_all_and_one_that_is_no_number_are_no_error() -> None:
    same = find(line.blinded(REFERENCE))
    assert areas(same)["Mahalanobis distance"] == 0.5
    assert np.isnan(find(crowd.broken(copy.deepcopy(REFERENCE))).separations[0].one).all()


def test_it_says_which_set_has_too_few() -> None:
    scene = crowd.scene(REFERENCE, REFERENCE)
    one = Group("holdout", crowd.Crowd(crowd.noise("one", 1)), ["0"])
    assert ATTACK.why_not(scene) is None
    assert ATTACK.why_not(replace(scene, holdout=one)) == "the holdout set has 1 images, and 2 are the fewest"
